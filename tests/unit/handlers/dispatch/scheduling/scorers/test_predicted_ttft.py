"""The scorer `predicted_ttft`: affinity until the queue costs this one and others more than the hit saves."""

import pytest

from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.scheduling.scorers.predicted_ttft import PredictedTtft, PredictedTtftParameters
from support.scheduling import NOW, Rate, a_pod, a_request, an_ask

PREFILL_ONLY = PredictedTtftParameters(waiting_weight=0.0, decoding_weight=0.0, load_weight_s=0.0)


def scores(pods: list[Pod], cached: list[int], parameters: PredictedTtftParameters = PREFILL_ONLY) -> list[float]:
    return list(PredictedTtft(parameters).score(an_ask(pods, a_request(8000), cached_tokens=cached)))


@pytest.mark.parametrize(("queue_tokens", "goes_to_the_holder"), [(0, True), (5000, True), (7000, False)])
def test_the_holder_wins_until_its_queue_is_longer_than_what_the_hit_saves(queue_tokens: int, goes_to_the_holder: bool):
    holder, idle = scores([a_pod("holder", prefill_tokens=queue_tokens), a_pod("idle")], [6000, 0])
    assert (holder > idle) is goes_to_the_holder


def test_the_score_is_the_best_time_over_this_one():
    times = scores([a_pod("one", prefill=Rate()), a_pod("other", prefill=Rate(), prefill_tokens=8000)], [0, 0])
    assert times == pytest.approx([1.0, 0.5], rel=0.01)


def with_works(pod: Pod, count: int, *, started: bool, tokens: int = 1000) -> Pod:
    """`count` more requests of `tokens` of prefill each are there."""
    for number in range(count):
        work = WorkKey(f"{pod.name}-{number}", 1, 1)
        pod.footprints.add(work, tokens, tokens, NOW)
        if started:
            pod.footprints.start(work, NOW)
    pod.used += count
    return pod


@pytest.mark.parametrize(("waiting", "goes_to_the_holder"), [(0, False), (6, True)])
def test_where_all_pods_are_busy_a_hit_is_worth_a_longer_queue(waiting: int, goes_to_the_holder: bool):
    holder = with_works(a_pod("holder", prefill_tokens=7000), waiting, started=False)
    other = with_works(a_pod("other"), waiting, started=False)
    parameters = PredictedTtftParameters(decoding_weight=0.0, load_weight_s=0.0)
    holder_score, other_score = scores([holder, other], [6000, 0], parameters)
    assert (holder_score > other_score) is goes_to_the_holder


def test_an_idle_pod_delays_nobody_and_so_takes_a_miss_by_its_own_time_alone():
    pods = [a_pod("holder", prefill_tokens=7000), a_pod("idle")]
    weighed = scores(pods, [6000, 0], PredictedTtftParameters(load_weight_s=0.0))
    assert weighed[1] == 1.0


def test_a_long_miss_goes_where_it_interrupts_fewer_answers_and_a_hit_goes_anywhere():
    many = with_works(a_pod("many"), 40, started=True)
    few = with_works(a_pod("few"), 4, started=True)
    parameters = PredictedTtftParameters(load_weight_s=0.0)
    assert scores([many, few], [0, 0], parameters)[0] < 0.7
    assert scores([many, few], [8000, 8000], parameters) == pytest.approx([1.0, 1.0])


def test_prefill_that_must_be_done_by_now_is_no_queue_any_more():
    pods = [a_pod("busy", prefill_tokens=8000, prefill=Rate()), a_pod("idle", prefill=Rate())]
    scorer = PredictedTtft(PREFILL_ONLY)
    at_once, later = (scorer.score(an_ask(pods, a_request(8000), now=NOW + passed_s))[0] for passed_s in (0.0, 0.4))
    assert at_once == pytest.approx(0.5, rel=0.01)
    assert later == pytest.approx(2 / 3, rel=0.01)


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
