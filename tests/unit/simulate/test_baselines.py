"""Each competitor's rule, by the case that its formula decides."""

from __future__ import annotations

import pytest

from matrixinfer.simulate.baselines import kthena, kthena_prefix
from matrixinfer.simulate.baselines.bounded_hash import BoundedHash
from matrixinfer.simulate.baselines.least_requests import LeastRequests
from matrixinfer.simulate.baselines.llmd_sticky import LONGEST_PREFILL_S, PEAK_TOKENS_PER_S, LlmdSticky
from matrixinfer.simulate.baselines.prefixes import PrefixIndex
from matrixinfer.simulate.baselines.random_choice import RandomChoice
from matrixinfer.simulate.baselines.round_robin import RoundRobin
from matrixinfer.simulate.baselines.sglang_cache_aware import SglangCacheAware
from matrixinfer.simulate.errors import BadChoice
from matrixinfer.simulate.life import Life
from matrixinfer.simulate.policies import DEFAULT, POLICIES, chosen
from support.simulation import BLOCKS, arrival, ended, gateway


def test_random_reaches_every_pod() -> None:
    balancer = RandomChoice(gateway(3))
    assert {balancer.choose(arrival(), 0.0) for _ in range(50)} == {0, 1, 2}


def test_round_robin_takes_turns() -> None:
    balancer = RoundRobin(gateway(3))
    assert [balancer.choose(arrival(), 0.0) for _ in range(4)] == [0, 1, 2, 0]


def test_least_requests_takes_one_of_the_least_loaded() -> None:
    balancer = LeastRequests(gateway(4, [2, 1, 3, 1]))
    assert {balancer.choose(arrival(), 0.0) for _ in range(50)} == {1, 3}


# -- the approximate index


def test_the_index_matches_from_the_beginning_only() -> None:
    index = PrefixIndex(3, 100)
    a, b, c = BLOCKS.run("index", 3)
    index.record(0, (a, b))
    index.record(1, (a,))
    index.record(2, (b, c))
    assert index.matches((a, b, c)) == {1: 1, 0: 2}
    assert index.matches(()) == {}


def test_the_index_forgets_the_longest_unused_and_of_one_prompt_its_end() -> None:
    index = PrefixIndex(1, 3)
    a, b = BLOCKS.run("old", 2), BLOCKS.run("new", 2)
    index.record(0, a)
    index.record(0, b)
    assert (index.matches(a), index.matches(b), index.size(0)) == ({0: 1}, {0: 2}, 3)


# -- bounded hash


def test_bounded_hash_keeps_a_prefix_on_its_pod_until_the_bound_and_spills_to_one_neighbour() -> None:
    there = gateway(4)
    balancer = BoundedHash(there)
    asked = arrival(prefix="p", prefix_blocks=2)
    home = balancer.choose(asked, 0.0)
    assert {balancer.choose(arrival(f"r{n}", prefix="p", prefix_blocks=2), 0.0) for n in range(9)} == {home}
    there.in_flight[:] = [1, 1, 1, 1]
    there.in_flight[home] = 2  # with this one 3 > ceil(1.25 * 6 / 4) = 2
    neighbour = balancer.choose(asked, 0.0)
    assert neighbour != home
    assert balancer.choose(asked, 0.0) == neighbour


# -- SGLang


def test_sglang_follows_the_longest_match_above_one_half() -> None:
    balancer = SglangCacheAware(gateway(3))
    first = balancer.choose(arrival("a", prefix="p", prefix_blocks=4, own=10), 0.0)
    assert balancer.choose(arrival("b", prefix="p", prefix_blocks=4, own=10), 0.0) == first
    assert balancer.choose(arrival("c", prefix="p", prefix_blocks=1, own=3000), 0.0) != first


def test_sglang_drops_affinity_when_it_is_imbalanced() -> None:
    there = gateway(2)
    balancer = SglangCacheAware(there)
    asked = arrival("a", prefix="p", prefix_blocks=4, own=10)
    home = balancer.choose(asked, 0.0)
    there.in_flight[home] = 64
    assert balancer.choose(asked, 0.0) == home
    there.in_flight[home] = 65
    assert balancer.choose(asked, 0.0) == 1 - home


# -- llm-d


def test_llmd_sticks_to_the_holder_until_its_prefill_would_take_too_long() -> None:
    balancer = LlmdSticky(gateway(2))
    asked = arrival("a", prefix="p", prefix_blocks=40, own=10)
    home = balancer.choose(asked, 0.0)
    big = int(LONGEST_PREFILL_S * PEAK_TOKENS_PER_S)
    again = arrival("b", prefix="p", prefix_blocks=40, own=10)
    assert balancer.choose(again, 0.0) == home
    balancer._uncached[home] = big + 1
    assert balancer.choose(arrival("c", prefix="p", prefix_blocks=40, own=10), 0.0) == 1 - home


def test_llmd_counts_uncached_tokens_until_the_first_token_or_the_clients_leaving() -> None:
    balancer = LlmdSticky(gateway(1))
    for rid in ("a", "b"):
        balancer.choose(arrival(rid, prefix="p", prefix_blocks=4, own=100), 0.0)
    assert balancer._uncached == [4 * 256 + 100 + 100]
    balancer.started(ended(arrival("a"), 0), 0.0)
    balancer.left(arrival("b"), 0)
    assert balancer._uncached == [0]


# -- Kthena


def polled(balancer: kthena.Kthena, there, **loads: object) -> None:
    """Put requests on the engines, and let the router poll."""
    for index, count in loads.items():
        pod = there.pods[int(index.removeprefix("pod"))]
        for number in range(int(str(count))):
            pod.submit(Life(arrival(f"{index}-{number}", own=20_000, output=500), 0.0), 0.0)
        pod.advance(pod.model.next_at())
    balancer.poll(1.0)


def test_kthenas_filter_refuses_when_every_pod_has_ten_waiting() -> None:
    there = gateway(2)
    balancer = kthena_prefix.default_profile(there)
    slots = there.pods[0].model.slots
    fitting = there.pods[0].model.cache.capacity_tokens // 20_500
    assert fitting < slots
    polled(balancer, there, pod0=fitting + 10)
    assert {balancer.choose(arrival(f"r{n}"), 1.0) for n in range(9)} == {1}
    polled(balancer, there, pod1=fitting + 10)
    assert balancer.choose(arrival(), 1.0) is None


def test_kthenas_least_request_punishes_what_does_not_run_yet() -> None:
    there = gateway(2, [3, 4])
    balancer = kthena.Kthena(there, [], kthena_prefix.KvCacheAwareScore(there))
    polled(balancer, there, pod0=1, pod1=4)
    # Pod 0: 3 + 100 x (3 - 1) = 203, score 0; pod 1: 4, score 98.
    assert balancer._least_request() == [0, 100 * (203 - 4) // 203]


def test_kthenas_prefix_cache_learns_when_the_response_has_ended_and_looks_at_the_head_only() -> None:
    there = gateway(8)
    score = kthena_prefix.PrefixCacheScore(8)
    long = arrival("a", prefix="p", prefix_blocks=30, own=256)
    assert score.score(long, range(8)) == {}
    for pod in range(6):
        score.learn(ended(long, pod))
    assert len(score.score(long, range(8))) == kthena_prefix.TOP_PODS
    assert set(score.score(long, range(8)).values()) == {100.0}
    short = arrival("b", prefix="p", prefix_blocks=2, own=512)
    assert set(score.score(short, [0, 7]).items()) == {(0, 50.0)}
    assert there.in_flight == [0] * 8


def test_kthenas_kv_aware_score_sees_what_an_engine_holds() -> None:
    there = gateway(2)
    score = kthena_prefix.kv_aware_profile(there)._prefix
    asked = arrival("a", prefix="p", prefix_blocks=3, own=256)
    there.pods[1].submit(Life(asked, 0.0), 0.0)
    while (next_at := there.pods[1].model.next_at()) is not None:
        there.pods[1].advance(next_at)
    assert score.score(arrival("b", prefix="p", prefix_blocks=3, own=256), [0, 1]) == {1: 75.0}


def test_kthenas_least_latency_is_relative_and_fifty_without_samples() -> None:
    seen = kthena.Polled(gateway(3))
    seen.ttft_s, seen.tpot_s = [1.0, 3.0, None], [0.02, 0.02, None]
    assert kthena.least_latency(seen, [0, 1, 2]) == [100.0, 50.0, 50.0]


# -- the table


def test_all_chooses_every_policy_and_ours_is_one_of_them() -> None:
    assert chosen("all") == list(POLICIES)
    assert chosen(f"random, {DEFAULT},random") == ["random", DEFAULT]


@pytest.mark.parametrize("wrong", ["", "random,nonsense"])
def test_an_unknown_policy_is_told_the_known_ones(wrong: str) -> None:
    with pytest.raises(BadChoice, match="known are: all, default, default-approximate, default-max-tpot, random"):
        chosen(wrong)
