"""Answers to questions and orders on `mi.control.<ns>.<pod>`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import assert_never, cast

from matrixinfer.agents.worker.books import Books
from matrixinfer.agents.worker.cache_diary import CacheDiary
from matrixinfer.agents.worker.driver import Driver
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.control import (
    Abort,
    CacheDump,
    Done,
    Drain,
    Dump,
    Dumped,
    Order,
    Ping,
    Replay,
    Replayed,
    Reply,
)
from matrixinfer.bus.contracts.frames import Chunk
from matrixinfer.bus.contracts.load import Snapshot, WorkKey
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.bus.ports import Signal

log = logging.getLogger("matrixinfer.agents.control")

DUMPED_COUNT = 16_384
"""The newest ends that a Dumped carries: about 2 MB, well within the largest message."""
REPLAYED_BYTES = 4 * 1024 * 1024
"""A Replayed stops near this much, short of the largest message; the gateway asks again for the rest."""


class Control:
    """`drain` begins to drain, `snapshot` makes the agent's state at a monotonic time."""

    def __init__(
        self,
        books: Books,
        clock: Clock,
        driver: Driver,
        cache_diary: CacheDiary,
        *,
        drain: Callable[[], None],
        snapshot: Callable[[float], Snapshot],
    ) -> None:
        self._identity = books.identity
        self._ledger = books.ledger
        self._replay = books.replay
        self._reporter = books.reporter
        self._clock = clock
        self._driver = driver
        self._cache_diary = cache_diary
        self._drain = drain
        self._snapshot = snapshot

    async def on_signal(self, signal: Signal) -> None:
        """A SignalHandler. What cannot be read gets no answer: the asker may speak a newer contract."""
        try:
            order = decode(signal.data, cast("type[Order]", Order))
        except Malformed as error:
            log.warning("an order on %s cannot be read: %s", signal.subject, error)
            return
        reply = encode(self.answer(order))
        try:
            await signal.respond(reply)
        except BusError as error:  # the asker asks again
            log.warning("could not answer on %s: %s", signal.subject, error)

    def answer(self, order: Order) -> Reply:
        """Carry out `order`; what to reply."""
        match order:
            case Abort():
                for key in order.keys:
                    self._driver.abort(key, order.reason)
            case Replay():
                return self._replayed(order)
            case Dump():
                return self._dumped(order)
            case Drain():
                self._drain()
            case CacheDump():
                return self._cache_diary.dumped(order)
            case Ping():
                pass
            case _:
                assert_never(order)
        return Done(self._identity.boot)

    def _replayed(self, order: Replay) -> Replayed:
        self._replay.forget(self._clock.monotonic())
        chunks: list[Chunk] = []
        unknown: list[WorkKey] = []
        room_bytes = REPLAYED_BYTES
        for item in order.items:
            missed = self._replay.since(item.key, item.next_number)
            if missed is None:
                unknown.append(item.key)
            for chunk in missed or ():
                if room_bytes <= 0:
                    break
                room_bytes -= len(chunk.data)
                chunks.append(chunk)
        return Replayed(self._identity.boot, chunks, unknown)

    def _dumped(self, order: Dump) -> Dumped:
        now = self._clock.monotonic()
        self._ledger.fence((order.namespace, order.modelserver, order.shard), order.epoch)
        ended = self._ledger.ended_of_late(now)[-DUMPED_COUNT:]
        sequence, draining = self._reporter.sequence, self._ledger.draining
        return Dumped(self._identity.boot, sequence, draining, self._snapshot(now), ended)
