"""A successor goes on in the order of its predecessor, and neither remembers more than it must."""

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.handlers.dispatch.fair.accounts import FairnessSnapshot
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.fair.settings import FairSettings
from support.fair_queue import take, take_all, waiting, work_of

tenants = st.sampled_from("abcde")


def handed_over(queue: FairQueue, most_tenants: int = 1000) -> FairQueue:
    """A successor that got the snapshot over the bus, and the waiting requests out of their stream."""
    data = msgspec.msgpack.encode(queue.snapshot(most_tenants))
    successor = FairQueue(FairSettings(quantum_tokens=0.0))
    successor.restore(msgspec.msgpack.decode(data, type=FairnessSnapshot))
    for request in sorted(queue, key=lambda request: request.order):
        successor.push(request)
    successor.end_catching_up()
    return successor


@settings(deadline=None)
@example([("a", 1), ("a", 1), ("a", 1), ("b", 1), ("b", 1)], 2, [("a", 0, 0)], [])
@given(
    st.lists(st.tuples(tenants, st.integers(1, 900)), min_size=1, max_size=30),
    st.integers(0, 30),
    st.lists(st.tuples(tenants, st.integers(0, 900), st.integers(0, 300)), max_size=10),
    st.lists(st.tuples(tenants, st.integers(1, 900)), max_size=10),
)
def test_the_order_of_the_successor_is_that_of_the_predecessor(before, taken, corrections, after):
    queue = FairQueue(FairSettings(quantum_tokens=0.0))
    for tenant, prompt_tokens in before:
        queue.push(waiting(tenant, prompt_tokens=prompt_tokens, max_tokens=7))
    at_pods = [take(queue) for _ in range(min(taken, len(before)))]
    for request in at_pods:
        queue.start(work_of(request))
    for request, (_, uncached_tokens, output_tokens) in zip(at_pods, corrections, strict=False):
        queue.correct(work_of(request), uncached_tokens, output_tokens)
    successor = handed_over(queue)
    for tenant, prompt_tokens in after:
        request = waiting(tenant, prompt_tokens=prompt_tokens, max_tokens=7)
        queue.push(request)
        successor.push(request)
    assert take_all(successor) == take_all(queue)


@settings(deadline=None)
@example([("a", 1), ("b", 900), ("b", 900)], [True, False, False])
@given(
    st.lists(st.tuples(tenants, st.integers(1, 900)), min_size=1, max_size=30),
    st.lists(st.booleans(), max_size=30),
)
def test_what_has_not_started_comes_again_and_is_charged_once(before, taken):
    """`taken` tells of each request that went to a pod whether it started there."""
    queue = FairQueue(FairSettings(quantum_tokens=0.0))
    for tenant, prompt_tokens in [*before, ("patient", 1)]:
        queue.push(waiting(tenant, prompt_tokens=prompt_tokens, max_tokens=7))
    at_pods = [(take(queue), has_started) for has_started in taken[: len(before)]]
    for request, has_started in at_pods:
        if has_started:
            queue.start(work_of(request))
    successor = FairQueue(FairSettings(quantum_tokens=0.0))
    successor.restore(queue.snapshot())
    unstarted = [request for request, has_started in at_pods if not has_started]
    for request in sorted([*queue, *unstarted], key=lambda request: request.order):
        successor.push(request)
    successor.end_catching_up()
    for request in unstarted:
        successor.remove(request)
        successor.charge(request, work_of(request), "p")
    here, there = queue.snapshot(), successor.snapshot()
    assert there.waiting == pytest.approx(here.waiting)
    assert take_all(successor) == take_all(queue)


def test_who_was_away_at_the_takeover_is_lifted_when_it_comes():
    queue = FairQueue()
    queue.push(waiting("a", prompt_tokens=9000))
    queue.push(waiting("a", prompt_tokens=9000))
    queue.start(work_of(take(queue)))
    successor = handed_over(queue)
    successor.push(waiting("new"))
    assert successor.snapshot().waiting["new"] == queue.snapshot().level > 9000


def test_who_waited_and_never_came_again_is_lifted_later():
    successor = FairQueue()
    successor.restore(FairnessSnapshot(10.0, waiting={"gone": 10.0, "a": 9000.0}))
    successor.push(waiting("a"))
    successor.end_catching_up()
    successor.push(waiting("gone"))
    assert successor.snapshot().waiting == {"a": 9000.0, "gone": 9000.0}


def test_a_snapshot_holds_no_more_tenants_than_asked_and_those_for_whom_it_matters_most():
    queue = FairQueue(FairSettings(quantum_tokens=0.0, expected_output_tokens=1.0))
    for at in range(40):
        queue.push(waiting(f"idle{at:02}", prompt_tokens=1000 + at))
    for request in take_all(queue):
        queue.start(work_of(request))
    for at in range(10):
        queue.push(waiting(f"new{at}"))
    snapshot = queue.snapshot(most_tenants=15)
    assert len(snapshot.waiting) == 10
    assert len(snapshot.waiting) + len(snapshot.idle) <= 15
    assert len(queue.snapshot(most_tenants=4).waiting) == 4


def test_the_successor_expects_outputs_as_long_as_its_predecessor_did():
    queue = FairQueue(FairSettings(expected_output_tokens=10.0))
    for _ in range(20):
        request = waiting("chatty")
        queue.push(request)
        take(queue)
        queue.correct(work_of(request), 100, 2000)
    successor = handed_over(queue)
    successor.push(waiting("chatty", prompt_tokens=0))
    begin = successor.snapshot().waiting["chatty"]
    successor.push(waiting("chatty"))
    successor.start(work_of(take(successor)))
    assert successor.snapshot().waiting["chatty"] - begin == pytest.approx(4000)


def test_a_charge_of_a_predecessor_is_not_corrected():
    assert not FairQueue().correct(WorkKey("r", 1, 1), 10, 10)


# -- what is forgotten
def test_idle_tenants_with_nothing_to_remember_are_forgotten():
    queue = FairQueue()
    for at in range(5000):
        queue.push(waiting(f"t{at}"))
        queue.correct(work_of(take(queue)), 100, 1)
    assert len(queue.snapshot(10_000).idle) + len(queue.snapshot(10_000).waiting) <= 1
    assert queue.remembered_tenants() <= 64 + 1


def test_no_more_idle_tenants_are_remembered_than_the_setting_says():
    queue = FairQueue(FairSettings(remembered_tenants=100, quantum_tokens=0.0))
    patient = waiting("patient")
    queue.push(patient)
    queue.pass_over(patient)  # it keeps the level low, so that everybody has something to remember
    for at in range(3000):
        queue.push(waiting(f"t{at}"))
        queue.correct(work_of(take(queue)), 1000 + at, 1)
    assert queue.remembered_tenants() <= 2 * (100 + 1) + 64
    queue.recall()
    assert queue.head(0.0).tenant == "patient"


def test_a_tenant_with_requests_at_pods_is_remembered_until_they_end():
    queue = FairQueue(FairSettings(expected_output_tokens=1.0))
    queue.push(waiting("a", prompt_tokens=1))
    charged = take(queue)
    for at in range(200):
        queue.push(waiting(f"t{at}", prompt_tokens=1))
        take(queue)
    assert queue.snapshot().level < 1000
    assert queue.correct(work_of(charged), 90_000, 10)
    queue.push(waiting("a"))
    assert queue.snapshot().waiting["a"] > 90_000
