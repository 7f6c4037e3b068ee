"""The scorer `predicted_ttft`: affinity until the queue costs more than the hit saves."""

import pytest

from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.scheduling.scorers.predicted_ttft import PredictedTtft, PredictedTtftParameters
from support.scheduling import NOW, Rate, a_pod, a_request, an_ask

PREFILL_ONLY = PredictedTtftParameters(load_weight_s=0.0)


def scores(pods: list[Pod], cached: list[int], parameters: PredictedTtftParameters = PREFILL_ONLY) -> list[float]:
    return list(PredictedTtft(parameters).score(an_ask(pods, a_request(8000), cached_tokens=cached)))


@pytest.mark.parametrize(("queue_tokens", "goes_to_the_holder"), [(0, True), (5000, True), (7000, False)])
def test_the_holder_wins_until_its_queue_is_longer_than_what_the_hit_saves(queue_tokens: int, goes_to_the_holder: bool):
    holder, idle = scores([a_pod("holder", prefill_tokens=queue_tokens), a_pod("idle")], [6000, 0])
    assert (holder > idle) is goes_to_the_holder


def test_the_score_is_the_best_time_over_this_one():
    times = scores([a_pod("one", prefill=Rate()), a_pod("other", prefill=Rate(), prefill_tokens=8000)], [0, 0])
    assert times == pytest.approx([1.0, 0.5], rel=0.01)


def test_a_pod_that_was_slow_to_the_first_token_is_predicted_to_be_slow():
    slow = a_pod("slow")
    for _ in range(20):
        slow.prefill.observe(8000, 8.0, NOW)
    assert scores([slow, a_pod("other")], [0, 0])[0] < 0.3


def test_a_pod_busy_with_decoding_is_no_good_place_though_its_prefill_queue_is_empty():
    busy, idle = a_pod("busy", used=7), a_pod("idle", prefill_tokens=500)
    assert scores([busy, idle], [0, 0])[0] == 1.0
    assert scores([busy, idle], [0, 0], PredictedTtftParameters())[1] == 1.0


def test_a_full_kv_cache_counts_like_full_slots_and_never_makes_the_time_infinite():
    full = a_pod("full", kv_tokens=2000, kv_capacity_tokens=1000)
    assert 0.0 < scores([full, a_pod("idle")], [0, 0], PredictedTtftParameters())[0] < 0.5
