"""What goes before a request: its position, and the work ahead of one that has not come yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from matrixinfer.handlers.dispatch.fair.flow import Account, Flow, Ticket
from matrixinfer.handlers.dispatch.fair.fluid import Backlog, Fluid, Work


class Ahead(NamedTuple):
    """Virtual tokens before a request; and how many there were if its tenant had nothing waiting."""

    virtual_tokens: float
    without_own: float


def in_order(tickets: Iterable[Ticket], bands: dict[int, int]) -> list[int]:
    """The `order` of each in the order of service, locality and age left aside; `bands` has the band of each.

    As if every request costs what it is expected to: a tenant's requests begin at the counters that those before them
    leave behind.
    """
    counters: dict[str, float] = {}
    places: list[tuple[int, float, int]] = []
    for ticket in sorted(tickets, key=lambda each: (-bands[each.request.order], each.request.order)):
        order, account = ticket.request.order, ticket.flow.account
        counter = counters.get(account.tenant, account.counter)
        places.append((-bands[order], counter, order))
        counters[account.tenant] = counter + ticket.cost / account.weight
    return [order for _, _, order in sorted(places)]


class Forecast:
    """A picture of the flows at one moment, each with all its requests in the band of its first.

    From the band `top` on all are equal. Nothing of this changes when a request of a higher priority comes, but `top`.
    """

    def __init__(self, accounts: Iterable[Account], top: int) -> None:
        self._top = top
        backlogs: dict[int, list[Backlog]] = {}
        for account in accounts:
            counter = account.counter
            for flow in sorted(account.flows.values(), key=lambda each: -each.band):
                end = counter + flow.cost / account.weight
                backlogs.setdefault(flow.band, []).append(Backlog(counter, end, Work(flow.waiting, flow.cost)))
                counter = end
        self._bands = {band: Fluid(each) for band, each in backlogs.items()}

    def ahead_in(self, flow: Flow, rank: float) -> Work:
        """What goes before that request of `flow` which has `rank` before it."""
        account, band = flow.account, min(flow.band, self._top)
        own = sum(each.cost for each in account.flows.values() if each.band > flow.band)
        own += flow.cost * rank / max(1, flow.waiting)
        return self._before(band, account.counter + own / account.weight, self._top)

    def ahead_of_new(self, account: Account, counter: float, priority: int) -> Ahead:
        """What goes before a new request of `account`, whose waiting ones begin at `counter`."""
        top = max(self._top, priority)
        own = sum(flow.cost for flow in account.flows.values() if flow.band >= priority)
        own_above = sum(flow.cost for flow in account.flows.values() if min(flow.band, top) > priority)
        before = self._before(priority, counter + own / account.weight, top).virtual_tokens
        without_own = self._before(priority, counter, top).virtual_tokens - own_above
        return Ahead(before, without_own)

    def _before(self, band: int, level: float, top: int) -> Work:
        """All of the bands above, and of this one what is served when its counters reach `level`."""
        work = Work()
        for each, fluid in self._bands.items():
            if min(each, top) > band:
                work = work.plus(fluid.total)
            elif min(each, top) == band:
                work = work.plus(fluid.before(level))
        return work
