"""The laws of the queue: order, positions and sums hold whatever is pushed, removed and brought back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from matrixinfer.handlers.dispatch.queue import FifoQueue
from matrixinfer.handlers.dispatch.request import Request


class NoMessage:
    subject = message_id = ""
    data = b""

    async def ack(self) -> None:
        raise AssertionError("a queue acknowledges nothing")


def request(order: int, *, deadline: float = 100.0, size_bytes: int = 10) -> Request:
    return Request(
        key=(f"r{order}", 1),
        tenant="t",
        gateway="g",
        prompt_tokens=0,
        size_bytes=size_bytes,
        order=order,
        since=0.0,
        deadline=deadline,
        held=NoMessage(),
        reign=1,
    )


class QueueMachine(RuleBasedStateMachine):
    """A FifoQueue beside a sorted list. What was taken out may come back, as re-homed requests do."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = FifoQueue()
        self.model: dict[int, Request] = {}
        self.outside: list[Request] = []
        self.orders = 0

    @rule(deadline=st.integers(1, 50), size_bytes=st.integers(0, 1000))
    def push(self, deadline: int, size_bytes: int) -> None:
        new = request(self.orders, deadline=float(deadline), size_bytes=size_bytes)
        self.orders += 1
        self.queue.push(new)
        self.model[new.order] = new

    @rule()
    def take_the_head(self) -> None:
        head = self.queue.head()
        if head is not None:
            assert self.queue.remove(head)
            self.outside.append(self.model.pop(head.order))

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove_any(self, data: st.DataObject) -> None:
        victim = data.draw(st.sampled_from(list(self.model.values())))
        assert self.queue.remove(victim)
        assert not self.queue.remove(victim)
        self.outside.append(self.model.pop(victim.order))

    @precondition(lambda self: self.outside)
    @rule(data=st.data())
    def bring_back(self, data: st.DataObject) -> None:
        back = data.draw(st.sampled_from(self.outside))
        self.outside.remove(back)
        self.queue.push(back)
        self.queue.push(back)
        self.model[back.order] = back

    @rule(now=st.integers(0, 50))
    def take_overdue(self, now: int) -> None:
        overdue = self.queue.take_overdue(float(now))
        expected = [order for order, each in self.model.items() if each.deadline <= now]
        assert sorted(each.order for each in overdue) == sorted(expected)
        for order in expected:
            del self.model[order]

    @invariant()
    def it_is_the_model(self) -> None:
        orders = sorted(self.model)
        head = self.queue.head()
        assert len(self.queue) == len(orders)
        assert (head.order if head else None) == (orders[0] if orders else None)
        assert [self.queue.position(self.model[order]) for order in orders] == list(range(len(orders)))
        assert self.queue.size_bytes == sum(each.size_bytes for each in self.model.values())
        assert self.queue.earliest_deadline <= min((each.deadline for each in self.model.values()), default=math.inf)
        assert sorted(each.order for each in self.queue) == orders


TestQueueLaws = QueueMachine.TestCase


@given(st.lists(st.integers(0, 1999), max_size=300, unique=True))
def test_positions_in_a_long_queue_are_off_by_a_sixteenth_at_most(gone):
    queue = FifoQueue()
    requests = [request(order) for order in range(2000)]
    for each in requests:
        queue.push(each)
    assert queue.position(requests[1999]) == 1999
    for order in gone:
        queue.remove(requests[order])
    left = [each for each in requests if each.order not in set(gone)]
    assert all(abs(queue.position(each) - at) <= 2000 / 16 for at, each in enumerate(left))


@pytest.mark.parametrize("count", [1, 300])
def test_an_empty_queue_has_no_deadline(count):
    queue = FifoQueue()
    requests = [request(order, deadline=5.0) for order in range(count)]
    for each in requests:
        queue.push(each)
    for each in requests:
        queue.remove(each)
    assert queue.earliest_deadline == math.inf
    assert queue.head() is None
