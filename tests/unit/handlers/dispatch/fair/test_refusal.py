"""Who is told no at the door: over a bound, or too late by what is known of the pool's speed."""

import pytest

from matrixinfer.bus.topology import STREAMS
from matrixinfer.handlers.dispatch.fair.drain_rate import DrainRate
from matrixinfer.handlers.dispatch.fair.early_rejection import too_late
from matrixinfer.handlers.dispatch.fair.forecast import Ahead
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.fair.refusal import LONGEST_RETRY_S, SHORTEST_RETRY_S
from matrixinfer.handlers.dispatch.fair.settings import FairSettings
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from support.fair_queue import take, waiting


def filled(settings: FairSettings, **counts: int) -> FairQueue:
    queue = FairQueue(settings)
    for tenant, count in counts.items():
        for _ in range(count):
            queue.push(waiting(tenant, prompt_tokens=98, max_tokens=1, priority=tenant == "urgent"))  # costs 100
    return queue


# -- bounds
BOUNDS = FairSettings(max_waiting=10, max_waiting_bytes=1000, max_tenant_waiting=6, max_tenant_waiting_bytes=600)


@pytest.mark.parametrize(
    ("counts", "size_bytes", "status"),
    [
        ({}, 10, None),
        ({}, 10_000, None),  # an empty queue takes any request
        ({"a": 5}, 10, None),
        ({"a": 6}, 10, 429),
        ({"b": 6}, 10, None),
        ({"a": 5}, 551, 429),
        ({"a": 5}, 550, None),
        ({"a": 4, "b": 6}, 10, 503),
        ({"b": 4, "c": 4}, 921, 503),
        ({"b": 4, "c": 4}, 920, None),
        ({"a": 6, "b": 4}, 10, 429),
    ],
)
def test_a_request_over_a_bound_is_refused_for_its_tenant_or_for_the_pool(counts, size_bytes, status):
    refusal = filled(BOUNDS, **counts).refusal(waiting("a", size_bytes=size_bytes), 0.0, None)
    assert (refusal.status if refusal else None) == status
    assert refusal is None or refusal.retry_after_s == SHORTEST_RETRY_S


def test_the_time_to_come_back_over_a_bound_is_that_in_which_so_much_is_served():
    """Six of 100 virtual tokens wait and one must go; of 4 a second the tenant has half, as another one waits."""
    refusal = filled(BOUNDS, a=6, b=2).refusal(waiting("a"), 0.0, 4.0)
    assert refusal.retry_after_s == pytest.approx(50.0)


# -- early rejection
@pytest.mark.parametrize(
    ("ahead", "rate_per_s", "remaining_s", "status", "retry_s"),
    [
        (Ahead(1000, 1000), None, 1.0, None, 0),  # nothing is known
        (Ahead(1000, 1000), 0.0, 1.0, None, 0),
        (Ahead(1000, 0), 100.0, 10.0, None, 0),
        (Ahead(1000, 0), 100.0, 8.0, None, 0),  # within the tolerance
        (Ahead(1000, 0), 100.0, 4.0, 429, 5.0),
        (Ahead(1000, 1000), 100.0, 4.0, 503, 5.0),
        (Ahead(1000, 501), 100.0, 4.0, 503, 5.0),
        (Ahead(1000, 500), 100.0, 4.0, 429, 5.0),
        (Ahead(1000, 1000), 100.0, -1.0, 503, 10.0),
        (Ahead(1e9, 1e9), 100.0, 4.0, 503, LONGEST_RETRY_S),
        (Ahead(510, 510), 100.0, 4.0, 503, SHORTEST_RETRY_S),
    ],
)
def test_who_would_start_too_late_is_told_so_and_when_to_come_back(ahead, rate_per_s, remaining_s, status, retry_s):
    refusal = too_late(ahead, rate_per_s, remaining_s)
    assert (refusal.status if refusal else None) == status
    assert refusal is None or refusal.retry_after_s == pytest.approx(retry_s)


ROOMY = FairSettings(quantum_tokens=0.0)


@pytest.mark.parametrize(
    ("counts", "priority", "status"),
    [
        ({}, 0, None),
        ({"heavy": 100}, 0, None),  # a light tenant does not wait for a heavy one's backlog
        ({"a": 100}, 0, 429),
        ({"a": 100}, 1, None),  # nor a high priority for a lower one
        ({f"t{at}": 2 for at in range(50)}, 0, None),
        ({"urgent": 100}, 0, 503),
        ({"urgent": 100, "a": 100}, 0, 503),
        ({"urgent": 5, "a": 10}, 0, 429),
        ({"a": 2, **{f"t{at}": 30 for at in range(50)}}, 0, 429),  # without its two it would be next
    ],
)
def test_the_work_ahead_is_that_of_the_fair_order(counts, priority, status):
    """100 virtual tokens a second and ten seconds' patience, or 12.5 with the tolerance."""
    queue = filled(ROOMY, **counts)
    refusal = queue.refusal(waiting("a", priority=priority, deadline=10.0), 0.0, 100.0)
    assert (refusal.status if refusal else None) == status


def test_who_comes_back_when_told_is_not_refused():
    queue = filled(ROOMY, a=40)
    refusal = queue.refusal(waiting("a", deadline=10.0), 0.0, 100.0)
    for _ in range(round(refusal.retry_after_s)):  # one request a second
        take(queue)
    assert queue.refusal(waiting("a", deadline=10.0), 0.0, 100.0) is None


# -- the rate
def ticked(
    rate: DrainRate,
    seconds: int,
    *,
    finished: int,
    begin: float = 0.0,
    backlogged: bool = True,
    pods: int = 1,
    in_flight: int = 0,
) -> float:
    """So many virtual tokens in each second, as one request."""
    for second in range(seconds):
        if finished:
            rate.placed(finished)
        rate.tick(begin + second, is_short=backlogged, pods=pods, in_flight=0)
    return begin + seconds


def test_nothing_is_known_of_a_pool_that_finished_too_little():
    rate = DrainRate()
    now = ticked(rate, 5, finished=100)
    assert rate.per_s(now, 1) is None
    now = ticked(rate, 5, finished=100, begin=now)
    assert rate.per_s(now, 1) == pytest.approx(100.0)


def test_finishes_while_nobody_waits_tell_nothing_of_how_much_the_pool_can_do():
    rate = DrainRate()
    now = ticked(rate, 100, finished=5, backlogged=False)
    assert rate.per_s(now, 1) is None
    now = ticked(rate, 20, finished=100, begin=now)
    now = ticked(rate, 100, finished=5, begin=now, backlogged=False)
    assert rate.per_s(now, 1) == pytest.approx(100.0)


@pytest.mark.parametrize(("pods", "expected"), [(0, None), (1, 50.0), (4, 200.0)])
def test_the_rate_grows_with_the_pods_that_serve(pods, expected):
    rate = DrainRate()
    now = ticked(rate, 20, finished=100, pods=2)
    assert rate.per_s(now, pods) == pytest.approx(expected)


def test_the_rate_follows_a_change_within_a_minute_or_two():
    rate = DrainRate()
    now = ticked(rate, 100, finished=100)
    now = ticked(rate, 100, finished=20, begin=now)
    assert rate.per_s(now, 1) == pytest.approx(22.5, abs=2.5)


def test_what_was_learned_long_ago_is_not_known_any_more():
    rate = DrainRate()
    now = ticked(rate, 20, finished=100)
    assert rate.per_s(now + 500, 1) is not None
    assert rate.per_s(now + 700, 1) is None


def test_requests_that_run_in_step_are_a_pace_only_over_several_rounds():
    """Four slots, answers of 60 s: four placements at once each minute."""
    rate = DrainRate()
    for second in range(600):
        if second % 60 == 0:
            for _ in range(4):
                rate.placed(100)
        rate.tick(float(second), is_short=True, pods=1, in_flight=4)
        if second < 60:
            assert rate.per_s(float(second), 1) is None
        if second > 240:
            assert rate.per_s(float(second), 1) == pytest.approx(400 / 60, rel=0.35)


# -- the bounds of other places
def test_the_queue_refuses_before_the_stream_or_the_process_is_full():
    """Else the gateway would be told of a full stream, or requests would wait where no one counts them."""
    fair, dispatch = FairSettings(), DispatchSettings()
    (requests,) = [stream for stream in STREAMS if stream.name == "REQUESTS"]
    assert fair.max_tenant_waiting < requests.per_subject
    assert 2 * fair.max_waiting <= dispatch.max_in_hand
    assert 2 * fair.max_waiting_bytes <= dispatch.max_bytes_in_hand
