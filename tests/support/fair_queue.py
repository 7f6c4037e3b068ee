"""Requests for the fair queue, and the same queue written as plainly as its rules read: a law to compare it with."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.handlers.dispatch.fair.output_lengths import OutputLengths
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.fair.settings import FairSettings
from matrixinfer.handlers.dispatch.request import Request, RequestKey


class NoMessage:
    subject = message_id = ""
    data = b""

    async def ack(self) -> None:
        raise AssertionError("a queue acknowledges nothing")


_orders = count()


def waiting(
    tenant: str = "a",
    *,
    order: int | None = None,
    prompt_tokens: int = 100,
    since: float = 0.0,
    deadline: float = 1e9,
    size_bytes: int = 10,
    priority: int = 0,
    session: str = "",
    max_tokens: int = 0,
) -> Request:
    """Without `order` it is the newest."""
    order = next(_orders) if order is None else order
    return Request(
        key=(f"r{order}", 1),
        tenant=tenant,
        gateway="g",
        prompt_tokens=prompt_tokens,
        size_bytes=size_bytes,
        order=order,
        since=since,
        deadline=deadline,
        held=NoMessage(),
        reign=1,
        priority=priority,
        session=session,
        max_tokens=max_tokens,
    )


def work_of(request: Request) -> WorkKey:
    """Its first hop."""
    return WorkKey(*request.key, 1)


def take(queue: FairQueue, now: float = 0.0, affinity: Callable[[Request], int] | None = None) -> Request:
    """The next one goes to a pod, and is charged as a whole."""
    request = queue.head(now, affinity)
    assert request is not None
    queue.remove(request)
    queue.charge(request, work_of(request), "p")
    return request


def take_all(queue: FairQueue, now: float = 0.0) -> list[Request]:
    return [take(queue, now) for _ in range(len(queue))]


class PlainQueue:
    """Looks through everything for every answer."""

    def __init__(self, settings: FairSettings) -> None:
        self.settings = settings
        self.requests: dict[int, Request] = {}
        self.counters: dict[str, float] = {}
        self.seen: dict[str, int] = {}
        """Tenant → newcomers when it was served last."""
        self.lengths = OutputLengths(settings.expected_output_tokens, settings.remembered_tenants)
        self.bills: dict[RequestKey, tuple[str, float]] = {}
        self.newcomers = 0
        self.floor = 0.0
        self.last_active = ""
        self.leader = self.choice = -1
        self.passes = 0

    def active(self) -> set[str]:
        return {request.tenant for request in self.requests.values()}

    def level(self) -> float:
        least = min(
            (self.counters[tenant] for tenant in self.active()), default=self.counters.get(self.last_active, 0.0)
        )
        return max(self.floor, least)

    def push(self, request: Request) -> None:
        active, tenant = self.active(), request.tenant
        if tenant not in active:
            self.newcomers += 1
            for each in active:
                if self.newcomers - self.seen[each] > self.settings.most_newcomers:
                    self.floor = max(self.floor, self.counters[each])
                    self.seen[each] = self.newcomers
            self.counters[tenant] = max(self.counters.get(tenant, 0.0), self.level())
            self.seen[tenant] = self.newcomers
        self.requests[request.order] = request

    def remove(self, request: Request) -> bool:
        if self.requests.pop(request.order, None) is None:
            return False
        if request.order == self.leader:
            self.passes = 0
        elif request.order == self.choice:
            self.passes += 1
        if request.tenant not in self.active():
            self.last_active = request.tenant
        return True

    def may_go(self, request: Request) -> bool:
        return not request.session or all(
            each.order >= request.order or (each.tenant, each.session) != (request.tenant, request.session)
            for each in self.requests.values()
        )

    def priority(self, request: Request) -> int:
        return max(self.settings.lowest_priority, min(self.settings.highest_priority, request.priority))

    def flows(self, now: float) -> list[list[Request]]:
        """Those in the top, in fair order; of each those that may go."""
        flows: dict[tuple[str, int], list[Request]] = {}
        for _, request in sorted(self.requests.items()):
            if self.may_go(request):
                flows.setdefault((request.tenant, self.priority(request)), []).append(request)
        top = max((priority for _, priority in flows), default=0)
        leading = [
            flow
            for (_, priority), flow in flows.items()
            if priority + max(0.0, now - flow[0].since) // self.settings.ageing_s >= top
        ]
        return sorted(leading, key=lambda flow: (self.counters[flow[0].tenant], flow[0].order))

    def head(self, now: float, affinity: Callable[[Request], int] | None = None) -> Request | None:
        flows, settings = self.flows(now), self.settings
        if not flows:
            return None
        leader = choice = flows[0][0]
        if affinity is not None and settings.quantum_tokens > 0 and self.passes < settings.most_passes:
            limit = self.counters[leader.tenant] + settings.quantum_tokens
            near = [flow for flow in flows if self.counters[flow[0].tenant] <= limit][: settings.window]
            share = max(1, settings.window // len(near))
            choice = max((request for flow in near for request in flow[:share]), key=affinity)
        self.leader, self.choice = leader.order, choice.order
        return choice

    def charge(self, request: Request, cached_tokens: int = 0) -> None:
        self.refund(request.key)
        cost = self.cost(
            max(0, request.prompt_tokens - cached_tokens), self.lengths.expect(request.tenant, request.max_tokens)
        )
        self.bills[request.key] = (request.tenant, cost)
        self.add(request.tenant, cost)
        self.seen[request.tenant] = self.newcomers

    def refund(self, key: RequestKey) -> None:
        if key in self.bills:
            tenant, cost = self.bills.pop(key)
            self.add(tenant, -cost)

    def correct(self, key: RequestKey, uncached_tokens: int, output_tokens: int) -> None:
        tenant, cost = self.bills.pop(key)
        self.lengths.learn(tenant, output_tokens)
        self.add(tenant, self.cost(uncached_tokens, output_tokens) - cost)

    def cost(self, uncached_tokens: float, output_tokens: float) -> float:
        settings = self.settings
        return max(1.0, settings.prompt_token_cost * uncached_tokens + settings.output_token_cost * output_tokens)

    def add(self, tenant: str, virtual_tokens: float) -> None:
        self.counters[tenant] += virtual_tokens / self.settings.weights.get(tenant, 1.0)
