"""Says what one loop turn brought: frames, acknowledgements, one load event and the credits that came free.

One task for all of it. Whoever has something to say leaves it with `outbox`, `reporter` or here, and calls `wake`;
everything left until the task runs goes out together, frames first: `started` must not overtake its first chunk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from matrixinfer.agents.worker.books import Books
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.load import Snapshot
from matrixinfer.bus.errors import BusError
from matrixinfer.bus.ports import Consumption, Delivery

log = logging.getLogger("matrixinfer.agents.sender")


class Sender:
    """`snapshot` makes the state to report, at a monotonic time."""

    def __init__(self, bus: Bus, books: Books, snapshot: Callable[[float], Snapshot]) -> None:
        self._bus = bus
        self._ledger = books.ledger
        self._outbox = books.outbox
        self._reporter = books.reporter
        self._load_subject = bus.subjects.load(books.identity.namespace, books.identity.pod)
        self._snapshot = snapshot
        self._awake = asyncio.Event()
        self._verdicts: list[Delivery] = []
        self._credits = 0
        self._consumption: Consumption | None = None
        self._is_silenced = False
        self._later: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Something is to be said at the end of this loop turn."""
        self._awake.set()

    def ack(self, delivery: Delivery) -> None:
        self._verdicts.append(delivery)
        self._awake.set()

    def credit(self) -> None:
        """A slot is free again."""
        self._credits += 1
        self._awake.set()

    def grant_to(self, consumption: Consumption) -> None:
        """Where credits go from now on; those that came free before go there too."""
        self._consumption = consumption
        self._awake.set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self._awake.wait()
                self._awake.clear()
                await self.flush()
                self._wake_for_snapshot()
        finally:
            if self._later is not None:
                self._later.cancel()

    def _wake_for_snapshot(self) -> None:
        """A change that came too soon after the last snapshot is told as soon as that is allowed."""
        wait_s = self._reporter.snapshot_wait_s(self._bus.clock.monotonic())
        if wait_s is not None and (self._later is None or self._later.done()):
            self._later = asyncio.create_task(self._wake_after(wait_s), name="agent-snapshot")

    async def _wake_after(self, wait_s: float) -> None:
        await self._bus.clock.sleep(wait_s)
        self._awake.set()

    async def flush(self) -> None:
        """Say all that waits, now."""
        now = self._bus.clock.monotonic()
        for subject, frame in self._outbox.take(now):
            await self._publish(subject, frame)
        if self._verdicts:
            await self._acknowledge()
        await self._report(now)
        if self._credits and self._consumption is not None:
            credits, self._credits = self._credits, 0
            self._consumption.grant(credits)

    async def _acknowledge(self) -> None:
        verdicts, self._verdicts = self._verdicts, []
        for delivery in verdicts:
            try:
                await delivery.ack()
            except BusError as error:  # it comes again, is known, and is acknowledged then
                log.debug("could not acknowledge %s: %s", delivery.message_id, error)

    async def _report(self, now: float) -> None:
        snapshot = self._snapshot(now) if self._reporter.wants_snapshot(now) else None
        event = self._reporter.compose(self._ledger.draining, snapshot, now)
        if event is not None and not await self._publish(self._load_subject, encode(event)):
            self._reporter.unsaid(event)

    async def _publish(self, subject: str, data: bytes) -> bool:
        try:
            await self._bus.signals.publish(subject, data)
        except BusError as error:  # frames can be replayed; a load event is said again
            if not self._is_silenced:
                log.warning("cannot publish to %s, nor perhaps to others, until the bus is back: %s", subject, error)
            self._is_silenced = True
            return False
        self._is_silenced = False
        return True
