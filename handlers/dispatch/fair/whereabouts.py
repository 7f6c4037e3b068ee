"""Answers to where a request stands, asked far more often than the queue can be sorted."""

from __future__ import annotations

from collections.abc import Mapping

from matrixinfer.handlers.dispatch.fair.accounts import Accounts
from matrixinfer.handlers.dispatch.fair.bands import Bands
from matrixinfer.handlers.dispatch.fair.flow import Ticket
from matrixinfer.handlers.dispatch.fair.forecast import Ahead, Forecast, in_order
from matrixinfer.handlers.dispatch.request import Request

_SHORT = 256
_ACCURACY = 16


class Whereabouts:
    """Keeps its picture of the queue until a sixteenth of it changed; up to 256 requests until anything did.

    Whoever changes the queue counts that in `changes`.
    """

    def __init__(self, tickets: Mapping[int, Ticket], accounts: Accounts, bands: Bands) -> None:
        self._tickets = tickets
        self._accounts = accounts
        self._bands = bands
        self._places: dict[int, int] = {}
        self._forecast = Forecast((), 0)
        self.changes = 1

    def position(self, request: Request) -> int:
        """How many are before it."""
        self._refresh()
        if len(self._tickets) <= _SHORT:
            return self._places[request.order]
        flow = self._tickets[request.order].flow
        return int(self._forecast.ahead_in(flow, self._rank(request)).requests)

    def ahead_of_new(self, tenant: str, priority: int) -> Ahead:
        """What goes before a request of `tenant` that is not in the queue yet."""
        self._refresh()
        account = self._accounts.find(tenant)
        counter = account.counter if account.waiting else max(account.counter, self._accounts.level())
        return self._forecast.ahead_of_new(account, counter, priority)

    def _rank(self, request: Request) -> float:
        """Requests before it in its flow, about."""
        flow = self._tickets[request.order].flow
        return flow.line.rank(request.order) * flow.waiting / max(1, len(flow.line))

    def _refresh(self) -> None:
        count = len(self._tickets)
        if not self.changes or (count > _SHORT and self.changes * _ACCURACY <= count):
            return
        self.changes = 0
        self._forecast = Forecast(self._accounts.active(), self._bands.top())
        if count <= _SHORT:
            self._places = {
                order: place for place, order in enumerate(in_order(self._tickets.values(), self._bands_of()))
            }

    def _bands_of(self) -> dict[int, int]:
        """By `order`. In a session nobody is in a higher band than those who must go before."""
        top, bands = self._bands.top(), {}
        highest_of: dict[tuple[str, str], int] = {}
        for order in sorted(self._tickets):
            ticket = self._tickets[order]
            request = ticket.request
            band = min(top, self._bands.band(request, ticket.flow.priority))
            if request.session:
                session = (request.tenant, request.session)
                band = highest_of[session] = min(band, highest_of.get(session, band))
            bands[order] = band
        return bands
