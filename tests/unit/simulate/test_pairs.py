"""Requests on two pods, on virtual time: what moves when, what is freed, and what conditional splitting is worth."""

from __future__ import annotations

from random import Random

import pytest

from matrixinfer.simulate.comparison import Options, run
from matrixinfer.simulate.generators import generate
from matrixinfer.simulate.life import Life
from matrixinfer.simulate.loop import Loop
from matrixinfer.simulate.measures import Measures, Slo, measure
from matrixinfer.simulate.pods import H100_7B, SimulatedPod
from matrixinfer.simulate.policies import POLICIES, Setting
from matrixinfer.simulate.port import News, Verdict
from matrixinfer.simulate.workload import Arrival, Workload
from support.simulation import arrival, workload

SLOW_LINE = H100_7B.model_copy(update={"kv_transfer_tokens_per_s": 1000.0})


class FirstPair:
    """Everything to pods 0 and 1."""

    period_s = 0.0

    def __init__(self) -> None:
        self.told: list[str] = []

    def arrive(self, arrival: Arrival, now: float) -> list[Verdict]:
        return [Verdict(arrival, 1, 0)]

    def heard(self, news: News, now: float) -> list[Verdict]:
        for what in ("prefilled", "started", "finished"):
            self.told += [f"{life.arrival.rid} {what} at {news.pod.name}" for life in getattr(news, what)]
        return []

    def tick(self, now: float) -> list[Verdict]:
        return []

    def cancel(self, arrival: Arrival, now: float) -> None:
        self.told.append(f"{arrival.rid} left")


def through_a_pair(
    *arrivals: Arrival, patience_s: float | None = None
) -> tuple[list[Life], list[SimulatedPod], FirstPair]:
    pods = [SimulatedPod(0, SLOW_LINE, "prefill"), SimulatedPod(1, SLOW_LINE, "decode")]
    policy = FirstPair()
    return Loop(workload(*arrivals), pods, policy, patience_s).run(), pods, policy


def test_a_prompt_is_computed_then_moved_then_decoded() -> None:
    (life,), pods, policy = through_a_pair(arrival("r", own=2800, output=5))

    assert policy.told[:2] == ["r prefilled at pod-0", "r started at pod-1"]
    prefill_s, transfer_s = 2800 / SLOW_LINE.prefill_tokens_per_s, 2800 / 1000.0
    assert life.ttft_s == pytest.approx(prefill_s + transfer_s, abs=0.05)
    assert [pod.model.cache.busy_tokens for pod in pods] == [0, 0]


def test_prompts_share_the_senders_line() -> None:
    lives, _, _ = through_a_pair(arrival("a", own=2000), arrival("b", own=2000))

    assert sorted(life.ttft_s for life in lives) == pytest.approx([2.1, 4.1], abs=0.1)


def test_what_the_decode_pod_has_is_not_moved_again() -> None:
    first, second = (arrival(rid, at, prefix="p", prefix_blocks=8, own=200) for rid, at in (("a", 0.0), ("b", 20.0)))
    lives, _, _ = through_a_pair(first, second)

    assert lives[1].ttft_s == pytest.approx(0.2, abs=0.1)


def test_a_client_that_leaves_during_the_transfer_frees_both_pods() -> None:
    (life,), pods, policy = through_a_pair(arrival("r", own=2800), patience_s=1.0)

    assert life.end == "cancelled"
    assert policy.told == ["r prefilled at pod-0", "r left"]
    assert [pod.model.running_count for pod in pods] == [0, 0]


def judged(offered: Workload, name: str, prefill_pods: int) -> Measures:
    lives, _ = run(offered, name, Options(8, prefill_pods=prefill_pods))
    return measure(lives, Slo(), closed_loop=False)


def test_splitting_spares_those_who_decode_and_never_queues_where_a_whole_pod_is_free() -> None:
    """2 prefill pods cannot hold the rate: who splits all by rule lets a queue grow for ever. 4 can."""
    offered = generate("no-reuse", 0, 8, 1500)
    ours, theirs = judged(offered, "default", 2), judged(offered, "least-requests", 2)
    assert ours.ttft_s.p90 < 0.1 * theirs.ttft_s.p90

    split, whole = judged(offered, "default", 4), judged(offered, "default", 0)
    assert split.tpot_s.p90 < 0.8 * whole.tpot_s.p90
    assert split.ttft_s.p90 < 2.0 * whole.ttft_s.p90


@pytest.mark.parametrize("name", POLICIES)
def test_each_policy_uses_the_pods_by_their_roles(name: str) -> None:
    pods = [SimulatedPod(index, H100_7B, "prefill" if index < 2 else "decode") for index in range(4)]
    policy = POLICIES[name](Setting(pods, Random(0)))
    lives = Loop(generate("shared-prefix-long", 0, 4, 200), pods, policy).run()

    assert {life.pod for life in lives} <= {2, 3}
    assert {life.prefill_pod for life in lives} <= {-1, 0, 1}
    assert {life.prefill_pod for life in lives} >= {0, 1}
