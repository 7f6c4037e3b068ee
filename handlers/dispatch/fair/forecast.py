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
    """A picture of the flows at one moment, each with all its requests in the band of its first."""

    def __init__(self, accounts: Iterable[Account], top: int) -> None:
        self._top = top
        backlogs: dict[int, list[Backlog]] = {}
        for account in accounts:
            counter = account.counter
            for band, work in self._by_band(account.flows.values()):
                end = counter + work.virtual_tokens / account.weight
                backlogs.setdefault(band, []).append(Backlog(counter, end, work))
                counter = end
        self._bands = {band: Fluid(each) for band, each in backlogs.items()}

    def ahead_in(self, flow: Flow, rank: float) -> Work:
        """What goes before that request of `flow` which has `rank` before it."""
        account, band = flow.account, self._capped(flow)
        own = self._own(account, band + 1) + flow.cost * rank / max(1, flow.waiting)
        return self._above(band).plus(self._within(band, account.counter + own / account.weight))

    def ahead_of_new(self, account: Account, counter: float, priority: int) -> Ahead:
        """What goes before a new request of `account`, whose waiting ones begin at `counter`."""
        band = min(priority, self._top)
        own, own_above = self._own(account, band), self._own(account, band + 1)
        above = self._above(band).virtual_tokens
        before = self._within(band, counter + own / account.weight).virtual_tokens
        without_own = self._within(band, counter).virtual_tokens
        return Ahead(above + before, above - own_above + without_own)

    def _own(self, account: Account, band: int) -> float:
        """Virtual tokens of its requests in `band` and above."""
        return sum(flow.cost for flow in account.flows.values() if self._capped(flow) >= band)

    def _within(self, band: int, level: float) -> Work:
        fluid = self._bands.get(band)
        return fluid.before(level) if fluid else Work()

    def _above(self, band: int) -> Work:
        work = Work()
        for each, fluid in self._bands.items():
            if each > band:
                work = work.plus(fluid.total)
        return work

    def _capped(self, flow: Flow) -> int:
        return min(flow.band, self._top)

    def _by_band(self, flows: Iterable[Flow]) -> list[tuple[int, Work]]:
        bands: dict[int, Work] = {}
        for flow in flows:
            band = self._capped(flow)
            bands[band] = bands.get(band, Work()).plus(Work(flow.waiting, flow.cost))
        return sorted(bands.items(), reverse=True)
