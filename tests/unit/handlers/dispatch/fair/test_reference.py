"""The fair queue does what its rules say, whatever happens in whatever order: it is compared with the plain one."""

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.fair.settings import FairSettings
from matrixinfer.handlers.dispatch.request import Request
from support.fair_queue import PlainQueue, waiting, work_of

SETTINGS = FairSettings(
    weights={"a": 2.0, "b": 0.5},
    quantum_tokens=600.0,
    window=4,
    most_passes=3,
    most_newcomers=3,
    lowest_priority=-1,
    highest_priority=2,
    ageing_s=8.0,
    expected_output_tokens=32.0,
)


def cached(request: Request) -> int:
    """Any function of the request that is at most its prompt."""
    return request.order * 7919 % (request.prompt_tokens + 1)


class FairMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.queue = FairQueue(SETTINGS)
        self.plain = PlainQueue(SETTINGS)
        self.now = 0.0
        self.orders = 0
        self.outside: list[Request] = []
        """Taken out, and charged or not."""

    @rule(
        tenant=st.sampled_from("abcde"),
        priority=st.sampled_from([0, 0, 0, 1, 5, -7]),
        session=st.sampled_from(["", "", "s", "t"]),
        tokens=st.tuples(st.integers(1, 800), st.sampled_from([0, 5])),
        lasts_s=st.integers(1, 60),
    )
    def push(self, tenant: str, priority: int, session: str, tokens: tuple[int, int], lasts_s: int) -> None:
        self.orders += 1
        self.put(
            waiting(
                tenant,
                order=self.orders,
                priority=priority,
                session=session,
                prompt_tokens=tokens[0],
                max_tokens=tokens[1],
                since=self.now,
                deadline=self.now + lasts_s,
            )
        )

    def put(self, request: Request) -> None:
        self.queue.push(request)
        self.queue.push(request)
        self.plain.push(request)

    @rule(asks=st.booleans(), tokens=st.integers(0, 300))
    def take_the_head(self, asks: bool, tokens: int) -> None:
        affinity = cached if asks else None
        head, expected = self.queue.head(self.now, affinity), self.plain.head(self.now, affinity)
        assert head is expected
        if head is not None:
            assert self.queue.remove(head)
            self.plain.remove(head)
            self.queue.charge(head, work_of(head), "p", tokens)
            self.plain.charge(head, tokens)
            self.outside.append(head)

    @precondition(lambda self: self.plain.requests)
    @rule(data=st.data())
    def remove_any(self, data: st.DataObject) -> None:
        victim = data.draw(st.sampled_from(list(self.plain.requests.values())))
        assert self.queue.remove(victim)
        assert not self.queue.remove(victim)
        self.plain.remove(victim)
        self.outside.append(victim)

    @precondition(lambda self: self.outside)
    @rule(data=st.data(), refunds=st.booleans())
    def bring_back(self, data: st.DataObject, refunds: bool) -> None:
        back = data.draw(st.sampled_from(self.outside))
        self.outside.remove(back)
        if refunds:
            self.queue.refund(work_of(back))
            self.plain.refund(back.key)
        self.put(back)

    @precondition(lambda self: self.plain.bills)
    @rule(data=st.data(), uncached=st.integers(0, 800), output=st.integers(0, 100))
    def correct(self, data: st.DataObject, uncached: int, output: int) -> None:
        key = data.draw(st.sampled_from(list(self.plain.bills)))
        assert self.queue.correct(WorkKey(*key, 1), uncached, output)
        assert not self.queue.correct(WorkKey(*key, 1), uncached, output)
        self.plain.correct(key, uncached, output)

    @rule(seconds=st.integers(1, 12))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        overdue = self.queue.take_overdue(self.now)
        due = [request for request in self.plain.requests.values() if request.deadline <= self.now]
        assert {request.order for request in overdue} == {request.order for request in due}
        for request in overdue:
            self.plain.remove(request)

    @rule()
    def pass_over_and_recall(self) -> None:
        """The order in which they are passed over is that of the plain queue without them and their sessions."""
        passed: list[Request] = []
        while (head := self.queue.head(self.now)) is not None and len(passed) < 3:
            self.queue.pass_over(head)
            passed.append(head)
        self.queue.recall()
        assert self.queue.head(self.now) is self.plain.head(self.now)
        assert len({(request.tenant, request.session or str(request.order)) for request in passed}) == len(passed)

    @invariant()
    def it_is_the_plain_one(self) -> None:
        requests = self.plain.requests.values()
        head = self.plain.head(self.now)
        assert self.queue.head(self.now) is head
        assert self.queue.head(self.now, cached) is self.plain.head(self.now, cached)
        assert len(self.queue) == len(requests)
        assert sorted(request.order for request in self.queue) == sorted(self.plain.requests)
        assert self.queue.size_bytes == sum(request.size_bytes for request in requests)
        assert self.queue.earliest_deadline <= min((request.deadline for request in requests), default=math.inf)
        assert sorted(self.queue.position(request) for request in requests) == list(range(len(requests)))
        assert head is None or self.queue.position(head) == 0

    def teardown(self) -> None:
        for request in list(self.plain.requests.values()):
            assert self.queue.remove(request)
        assert self.queue.earliest_deadline == math.inf
        assert self.queue.head(self.now) is None
        assert self.queue.size_bytes == 0


TestFairQueueIsThePlainOne = FairMachine.TestCase
TestFairQueueIsThePlainOne.settings = settings(deadline=None)
