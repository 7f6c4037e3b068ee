"""The scorer `least_latency`."""

import pytest

from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.scheduling.scorers.least_latency import LeastLatency, LeastLatencyParameters
from support.scheduling import NOW, a_pod, an_ask


def measured(name: str, ttft_s: float, tpot_s: float, age_s: float = 0.0) -> Pod:
    return a_pod(name, ttft_s=ttft_s, tpot_s=tpot_s, measured_at=NOW - age_s)


def scores(*pods: Pod, **parameters: float) -> list[float]:
    return list(LeastLatency(LeastLatencyParameters(**parameters)).score(an_ask(list(pods))))


def test_the_score_is_the_best_time_over_this_one_weighted_by_kind():
    fast, slow = measured("fast", 0.5, 0.02), measured("slow", 1.0, 0.08)
    assert scores(fast, slow) == pytest.approx([1.0, 0.5 * 0.5 + 0.5 * 0.25], rel=0.01)
    assert scores(fast, slow, ttft_share=1.0) == pytest.approx([1.0, 0.5], rel=0.01)


def test_a_pod_that_was_slow_drifts_back_to_the_mean_when_nothing_new_is_measured():
    fast = measured("fast", 0.5, 0.02)
    by_age = [scores(fast, measured("slow", 5.0, 0.02, age_s), half_life_s=10.0)[1] for age_s in (0, 10, 20, 1000)]
    assert by_age == sorted(by_age)
    mean_s = (0.5 + 5.0) / 2
    assert by_age[-1] == pytest.approx(0.5 * 0.5 / mean_s + 0.5, rel=0.01)


def test_a_pod_that_measured_nothing_counts_as_the_mean():
    fast, slow, new = measured("fast", 1.0, 0.02), measured("slow", 3.0, 0.02), a_pod("new")
    best, worst, between = scores(fast, slow, new, ttft_share=1.0)
    assert (best, worst, between) == pytest.approx((1.0, 1 / 3, 1 / 2), rel=0.01)


def test_where_nothing_was_measured_all_are_equal():
    assert scores(a_pod("a"), a_pod("b")) == [1.0, 1.0]
