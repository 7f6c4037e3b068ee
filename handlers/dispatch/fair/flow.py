"""Whose requests they are: a tenant's account, and its flows, one for each priority in use."""

from __future__ import annotations

from matrixinfer.handlers.dispatch.fair.line import Line
from matrixinfer.handlers.dispatch.request import Request

Entry = tuple[float, int, "Flow"]
"""Where a flow stands: its tenant's counter, the `order` of its first request, and itself."""

Timer = tuple[float, int, "Flow"]
"""When a flow may rise, a number that no other timer has, and itself."""


class Account:
    """`counter` holds virtual tokens already divided by `weight`; `seen_newcomers` is the number of newcomers when it
    was last served. `in_flight` counts its open bills, `unstarted` those for work that has not started; these cost
    `unstarted_cost` virtual tokens for weight 1."""

    __slots__ = (
        "counter",
        "flows",
        "in_flight",
        "seen_newcomers",
        "size_bytes",
        "tenant",
        "unstarted",
        "unstarted_cost",
        "waiting",
        "weight",
    )

    def __init__(self, tenant: str, weight: float) -> None:
        self.tenant = tenant
        self.weight = weight
        self.counter = 0.0
        self.flows: dict[int, Flow] = {}
        self.waiting = 0
        self.size_bytes = 0
        self.in_flight = 0
        self.unstarted = 0
        self.unstarted_cost = 0.0
        self.seen_newcomers = 0

    def has_unstarted(self) -> bool:
        """Do requests of it wait, here or at a pod?"""
        return self.waiting > 0 or self.unstarted > 0

    def count_unstarted(self, by: int, virtual_tokens: float) -> None:
        """A bill for so much came (`by` is 1), or its work started or ended (-1)."""
        self.unstarted += by
        self.unstarted_cost = self.unstarted_cost + by * virtual_tokens if self.unstarted else 0.0

    def flow(self, priority: int) -> Flow:
        flow = self.flows.get(priority)
        if flow is None:
            flow = self.flows[priority] = Flow(self, priority)
        return flow


class Flow:
    """One tenant's requests of one priority. In `line` are those that may go; `waiting` and `cost` count also those
    behind them in their sessions. While it is `held` none of them is offered. The rest is its place in the `Bands`."""

    __slots__ = ("account", "band", "cost", "entry", "held", "line", "priority", "rises_at", "timer", "waiting")

    def __init__(self, account: Account, priority: int) -> None:
        self.account = account
        self.priority = priority
        self.line = Line()
        self.waiting = 0
        self.cost = 0.0
        self.held = False
        self.band = priority
        self.entry: Entry | None = None
        self.rises_at = 0.0
        self.timer: Timer | None = None

    def first(self) -> Request | None:
        """The one that goes next of those that may go."""
        return None if self.held else self.line.first()


class Ticket:
    """A waiting request, and what was counted for it: `cost` in virtual tokens for weight 1."""

    __slots__ = ("cost", "flow", "request")

    def __init__(self, request: Request, flow: Flow, cost: float) -> None:
        self.request = request
        self.flow = flow
        self.cost = cost
