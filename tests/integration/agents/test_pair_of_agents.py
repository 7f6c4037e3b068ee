"""Prefill and decode on two agents: what is said, in which order, with every connector, and when one of them fails."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.disaggregation import Connector
from matrixinfer.bus.contracts.frames import ChunkKind, Failure
from support.eventually import eventually
from support.pair_of_agents import BLOCK_TOKENS, PODS, PROMPT_TOKENS, TOKENS, PairOfAgents, pair_of_agents

WAITING: list[Connector] = ["nixl", "mooncake", "lmcache", "http"]
SLOW = 4.0
"""Tokens a second: a prefill that no test sees the end of."""


async def ended(pair: PairOfAgents) -> None:
    await eventually(lambda: pair.end_of("prefill") and pair.end_of("decode"), timeout_s=20.0)


def failures(pair: PairOfAgents) -> list[int]:
    return [decode(chunk.data, Failure).status for chunk in pair.chunks if chunk.kind is ChunkKind.FAILED]


@pytest.mark.parametrize("connector", WAITING)
async def test_prefill_then_hand_over_then_decode(tmp_path: Path, connector: Connector) -> None:
    async with pair_of_agents(tmp_path, connector) as pair:
        await pair.place()
        await ended(pair)
        assert pair.is_in_order("work prefill", "work decode", "handed", "data decode", "end decode"), pair.log
        assert pair.is_in_order("work decode", "finished prefill", "started decode", "finished decode"), pair.log
        assert pair.is_in_order("handed", "decode engine busy"), "the decode engine hears of it only then"
        assert not pair.has("parted")
        assert {chunk.phase for chunk in pair.chunks} == {"decode"}
        assert (pair.end_of("prefill"), pair.end_of("decode")) == (
            ("completed", True, ""),
            ("completed", True, "taken"),
        )
        usage = pair.finished["decode"].usage
        assert (usage.prompt_tokens, usage.output_tokens) == (PROMPT_TOKENS, TOKENS)
        assert usage.cached_tokens == (PROMPT_TOKENS - BLOCK_TOKENS if connector in ("lmcache", "http") else 0)
        await eventually(lambda: pair.is_idle("prefill") and pair.is_idle("decode"))


async def test_both_at_once_where_engines_meet(tmp_path: Path) -> None:
    async with pair_of_agents(tmp_path, "sglang") as pair:
        await pair.place()
        await ended(pair)
        assert pair.is_in_order("work prefill", "work decode", "finished prefill", "data decode", "end decode"), (
            pair.log
        )
        assert not {"handed", "handed lost", "parted"} & set(pair.log), "the engines have met by themselves"
        assert {chunk.phase for chunk in pair.chunks} == {"decode"}
        assert pair.end_of("decode") == ("completed", True, "taken")
        assert pair.finished["decode"].usage.prompt_tokens == PROMPT_TOKENS
        await eventually(lambda: pair.is_idle("prefill") and pair.is_idle("decode"))


@pytest.mark.parametrize("connector", ["nixl", "http"])
async def test_a_prefill_agent_that_is_killed_leaves_the_decode_agent_to_do_it_alone(
    tmp_path: Path, connector: Connector
) -> None:
    async with pair_of_agents(tmp_path, connector, prefill_tokens_per_s=SLOW) as pair:
        await pair.place()
        await eventually(pair.is_computing)
        pair.agents["prefill"].signal(signal.SIGKILL)
        await pair.say_lost()
        await eventually(lambda: pair.end_of("decode"), timeout_s=20.0)
        assert pair.is_in_order("handed lost", "data decode", "end decode"), pair.log
        assert pair.end_of("decode") == ("completed", True, "lost")
        assert pair.finished["decode"].usage.output_tokens == TOKENS


async def test_a_prefill_agent_that_is_killed_is_given_up_in_time_also_when_nobody_says_so(tmp_path: Path) -> None:
    async with pair_of_agents(tmp_path, "nixl", prefill_tokens_per_s=SLOW) as pair:
        await pair.place(prefill_timeout_s=2.0)
        await eventually(pair.is_computing)
        pair.agents["prefill"].signal(signal.SIGKILL)
        await eventually(lambda: pair.end_of("decode"), timeout_s=20.0)
        assert pair.is_in_order("parted", "data decode", "end decode"), pair.log
        assert pair.end_of("decode") == ("completed", True, "lost")


async def test_where_engines_meet_a_killed_prefill_agent_gives_the_work_back(tmp_path: Path) -> None:
    async with pair_of_agents(tmp_path, "sglang", prefill_tokens_per_s=SLOW) as pair:
        await pair.place()
        await eventually(pair.is_computing)
        pair.agents["prefill"].signal(signal.SIGKILL)
        await eventually(lambda: pair.end_of("decode"), timeout_s=20.0)
        assert pair.end_of("decode") == ("refused", False, "lost")
        assert pair.chunks == []
        await eventually(lambda: pair.is_idle("decode"))


@pytest.mark.parametrize(
    ("connector", "end"), [("nixl", ("completed", True, "lost")), ("sglang", ("refused", False, "lost"))]
)
async def test_a_prefill_agent_that_has_to_stop_says_so_before_it_is_gone(
    tmp_path: Path, connector: Connector, end: tuple[str, bool, str]
) -> None:
    async with pair_of_agents(tmp_path, connector, prefill_tokens_per_s=SLOW) as pair:
        await pair.place()
        await eventually(pair.is_computing)
        pair.agents["prefill"].signal(signal.SIGTERM)
        await ended(pair)
        assert pair.has("handed lost")
        assert (pair.end_of("prefill"), pair.end_of("decode")) == (("refused", False, ""), end)
        await eventually(lambda: not pair.agents["prefill"].is_alive(), timeout_s=10.0)


@pytest.mark.parametrize("connector", ["nixl", "lmcache", "sglang"])
async def test_a_cancel_at_the_decode_agent_ends_both_engines_jobs(tmp_path: Path, connector: Connector) -> None:
    async with pair_of_agents(tmp_path, connector, prefill_tokens_per_s=SLOW) as pair:
        await pair.place()
        await eventually(lambda: pair.is_computing() and pair.snapshots[PODS["decode"]].waiting)
        await pair.abort("decode")
        await ended(pair)
        assert pair.end_of("prefill") == pair.end_of("decode") == ("cancelled", False, "")
        assert pair.is_in_order("parted", "finished prefill"), pair.log
        assert not {"handed", "handed lost"} & set(pair.log)
        assert pair.chunks == []
        await eventually(lambda: pair.is_idle("prefill") and pair.is_idle("decode"))


@pytest.mark.parametrize("connector", ["nixl", "lmcache", "sglang"])
async def test_the_requests_own_mistake_reaches_the_client_once(tmp_path: Path, connector: Connector) -> None:
    async with pair_of_agents(tmp_path, connector) as pair:
        await pair.place(n=2)
        await ended(pair)
        assert failures(pair) == [400]
        assert len(pair.chunks) == 1
