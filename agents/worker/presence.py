"""Whether the gateways for which something runs are still there: nobody else would ever read those answers."""

from __future__ import annotations

import asyncio
import logging

from matrixinfer.agents.worker.books import Books
from matrixinfer.agents.worker.driver import Driver
from matrixinfer.bus.absence import AbsenceRule, Heard, heard
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.errors import BusError

log = logging.getLogger("matrixinfer.agents.presence")

ASK_EVERY_S = 2.0
ANSWER_WITHIN_S = 1.0
GONE_AFTER_S = 6.0


class Presence:
    """Asks, judges by the absence rule, and has the work of a gateway that is gone aborted."""

    def __init__(self, bus: Bus, books: Books, driver: Driver) -> None:
        self._bus = bus
        self._ledger = books.ledger
        self._outbox = books.outbox
        self._driver = driver
        self._rule: AbsenceRule[str] = AbsenceRule(GONE_AFTER_S)

    async def look(self) -> None:
        """Ask each gateway once, all at the same time; call it every `ASK_EVERY_S`."""
        gateways = self._ledger.gateways()
        self._rule.keep_only(gateways)
        for gateway, outcome in await asyncio.gather(*[self._ask(gateway) for gateway in gateways]):
            now, up_since = self._bus.clock.monotonic(), self._bus.link.up_since()
            if self._rule.observe(gateway, now, outcome, up_since):
                log.warning("gateway %s is gone: its work is aborted", gateway)
                self._driver.abandon(gateway)
                self._rule.forget(gateway)

    async def _ask(self, gateway: str) -> tuple[str, Heard]:
        subject = self._bus.subjects.frames(gateway)
        try:
            await self._bus.signals.request(subject, self._outbox.greeting(gateway), timeout_s=ANSWER_WITHIN_S)
        except BusError as error:
            return gateway, heard(error)
        return gateway, heard(None)
