"""Traces as they are in the world, and generators as they say they are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from matrixinfer.simulate.errors import BadChoice, BadTrace
from matrixinfer.simulate.generators import WORKLOADS, generate
from matrixinfer.simulate.traces import read
from matrixinfer.simulate.workload import BLOCK_TOKENS, scaled

MOONCAKE = """\
{"timestamp": 27000, "input_length": 1300, "output_length": 5, "hash_ids": [0, 1, 2]}
{"timestamp": 28500, "input_length": 1100, "output_length": 7, "hash_ids": [0, 1, 3]}
"""
AZURE = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8
"""


@pytest.fixture
def trace(tmp_path: Path):
    def write(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_mooncakes_blocks_of_512_tokens_are_two_of_ours_and_whole_ones_only(trace) -> None:
    first, second = read(trace("m.jsonl", MOONCAKE)).arrivals
    assert (first.at, second.at) == (0.0, 1.5)
    assert (first.prompt_tokens, first.output_tokens, len(first.blocks), len(second.blocks)) == (1300, 5, 5, 4)
    assert first.blocks[:4] == second.blocks[:4]
    assert first.blocks[0] is second.blocks[0]
    assert len(set(first.blocks)) == 5


def test_azures_prompts_share_nothing(trace) -> None:
    first, second = read(trace("a.csv", AZURE)).arrivals
    assert second.at == pytest.approx(0.052)
    assert (first.prompt_tokens, first.output_tokens) == (4808, 10)
    assert not set(first.blocks) & set(second.blocks)


@pytest.mark.parametrize(("name", "text"), [("m.jsonl", MOONCAKE), ("a.csv", AZURE)])
def test_a_limit_reads_the_first_requests(trace, name: str, text: str) -> None:
    assert len(read(trace(name, text), limit=1).arrivals) == 1


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("m.jsonl", MOONCAKE + '{"timestamp": 1}\n', "request 3 cannot be read: .*input_length"),
        ("m.jsonl", "", "expected at least one request"),
        ("a.csv", "when,what\n1,2\n", "request 1 cannot be read"),
        ("a.csv", AZURE + "2023-11-16 18:17:05,-4,1\n", "request 3 .* at least 0, got -4 and 1"),
        ("t.parquet", "", "ends in .jsonl or .csv"),
    ],
)
def test_a_trace_that_cannot_be_read_names_the_request(trace, name: str, text: str, said: str) -> None:
    with pytest.raises(BadTrace, match=said):
        read(trace(name, text))


def test_twice_the_rate_is_half_the_time(trace) -> None:
    whole = read(trace("m.jsonl", MOONCAKE))
    assert [one.at for one in scaled(whole, 2.0).arrivals] == [0.0, 0.75]


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_depends_on_its_seed_and_on_nothing_else(name: str) -> None:
    def made(seed: int) -> list[tuple[float, int, tuple[bytes, ...]]]:
        return [(one.at, one.prompt_tokens, one.blocks) for one in generate(name, seed, 2, 50).arrivals]

    assert made(7) == made(7)
    assert made(7) != made(8)


@pytest.mark.parametrize("name", WORKLOADS)
def test_requests_come_in_order_with_as_many_blocks_as_their_prompts_hold(name: str) -> None:
    arrivals = generate(name, 0, 2, 200).arrivals
    assert [one.at for one in arrivals] == sorted(one.at for one in arrivals)
    assert len({one.rid for one in arrivals}) == 200
    assert all(len(one.blocks) == one.prompt_tokens // BLOCK_TOKENS for one in arrivals)


def test_kthenas_setting_has_256_groups_of_32_and_300_at_once() -> None:
    made = generate("shared-prefix-long", 0, 3)
    groups = Counter(one.blocks[:16] for one in made.arrivals)
    assert (len(groups), set(groups.values()), made.concurrency) == (256, {32}, 300)


def test_the_heavy_tenant_sends_ten_times_as_much_as_each_light_one() -> None:
    sent = Counter(one.tenant for one in generate("multi-tenant", 0, 4, 5000).arrivals)
    assert len(sent) == 10
    light = (sent.total() - sent["heavy"]) / 9
    assert sent["heavy"] / light == pytest.approx(10, rel=0.1)


def test_an_unknown_workload_is_told_the_known_ones() -> None:
    with pytest.raises(BadChoice, match="'x' is not known; known are: shared-prefix-long"):
        generate("x", 0, 1)
