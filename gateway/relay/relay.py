"""The requests in flight of one worker: frames are heard here and find their request; endings tell the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from matrixinfer.bus.background import Background
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.control import Abort
from matrixinfer.bus.contracts.dispatch import Cancelled, CancelNotice, QueueReport
from matrixinfer.bus.contracts.frames import Chunk, Failure, Frame
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.bus.ports import Signal, Subscription
from matrixinfer.gateway.relay.binding import Source
from matrixinfer.gateway.relay.cancels import Cancels
from matrixinfer.gateway.relay.exchange import Exchange
from matrixinfer.gateway.relay.pace import Pace

log = logging.getLogger("matrixinfer.gateway.relay")

ABORT_AGAIN_S = 1.0
"""An agent that goes on sending what nobody wants is told again, this often."""


class Relay:
    """Owns the table of exchanges. `start` before anything is published; `close` after the doors are shut."""

    def __init__(self, bus: Bus, gateway: str, background: Background) -> None:
        self.gateway = gateway
        self.pace = Pace()
        self._bus = bus
        self._background = background
        self._exchanges: dict[str, Exchange] = {}
        self._aborted: dict[WorkKey, float] = {}
        self._cancels = Cancels()
        self._subscriptions: list[Subscription] = []
        self.on_forgotten: Callable[[Exchange], None] = lambda _: None
        """Called once for each exchange, when its door is done with it."""
        self.on_gap: Callable[[Exchange], None] = lambda _: None
        """Called when chunks of a request came early: one before them is missing."""

    async def start(self) -> None:
        signals, subjects = self._bus.signals, self._bus.subjects
        self._subscriptions.append(await signals.subscribe(subjects.frames(self.gateway), self._heard))
        self._subscriptions.append(await signals.subscribe(subjects.queue_filter(), self._heard_of_queue))

    async def close(self) -> None:
        for subscription in self._subscriptions:
            await subscription.close()

    def __len__(self) -> int:
        return len(self._exchanges)

    def __iter__(self) -> Iterator[Exchange]:
        return iter(list(self._exchanges.values()))

    def open(self, exchange: Exchange) -> None:
        """From now on its chunks are wanted."""
        self._exchanges[exchange.rid] = exchange

    def forget(self, exchange: Exchange) -> None:
        """The door is done with it. What still runs for it is cancelled. Safe to call twice."""
        if self._exchanges.pop(exchange.rid, None) is None:
            return
        if not exchange.ended:
            exchange.ended = True
            self._cancel(exchange)
        self.on_forgotten(exchange)

    def fail(self, exchange: Exchange, failure: Failure) -> None:
        """End it by an error and cancel what runs for it. Does nothing when it has ended."""
        if exchange.fail(failure):
            self._cancel(exchange)

    def feed(self, exchange: Exchange, source: Source, chunk: Chunk, now: float) -> bool:
        """Give it a chunk, live or replayed. False when nobody wants the chunk."""
        was_bound, was_ended = exchange.binding.source is not None, exchange.ended
        if not exchange.take(source, chunk):
            return False
        exchange.silence.heard_at = now
        if not was_bound and exchange.envelope.attempt > 1:
            self._cancel_others(exchange, now)
        if exchange.ended and not was_ended and not exchange.settled:
            log.warning("request %s was cancelled: %s", exchange.rid, exchange.failure and exchange.failure.message)
            self._cancel(exchange)
        return True

    def sweep(self, now: float) -> None:
        """Keep the memory of aborts and cancels short."""
        self._cancels.sweep(now)
        self._aborted = {key: at for key, at in self._aborted.items() if now - at < ABORT_AGAIN_S}

    async def _heard(self, signal: Signal) -> None:
        await signal.respond(b"")  # a request on this subject asks whether we are there
        if not signal.data:
            return
        try:
            frame = decode(signal.data, Frame)
        except Malformed as error:
            log.warning("a frame was dropped: %s", error)
            return
        unwanted = self._pass_on(frame, self._bus.clock.monotonic())
        if unwanted and frame.pod:
            await self._send(self._bus.subjects.control(frame.namespace, frame.pod), encode(Abort(unwanted)))

    async def _heard_of_queue(self, signal: Signal) -> None:
        """A dispatcher that took over has none of its predecessor's cancels: it is told again."""
        try:
            report = decode(signal.data, QueueReport)
        except Malformed as error:
            log.warning("the report of a queue was dropped: %s", error)
            return
        for notice in self._cancels.due(report, self._bus.clock.monotonic()):
            await self._send(self._bus.subjects.cancel(report.namespace, report.modelserver), encode(notice))

    def _pass_on(self, frame: Frame, now: float) -> list[WorkKey]:
        """Feeds every chunk; returns the work that should be aborted, each at most once a second."""
        source = Source(frame.namespace, frame.pod, frame.boot)
        exchanges = self._exchanges
        unwanted: list[WorkKey] = []
        for chunk in frame.chunks:
            exchange = exchanges.get(chunk.rid)
            if exchange is None or not self.feed(exchange, source, chunk, now):
                self._note_unwanted(chunk, now, unwanted)
            elif exchange.binding.has_gap():
                self.on_gap(exchange)
        return unwanted

    def _note_unwanted(self, chunk: Chunk, now: float, unwanted: list[WorkKey]) -> None:
        key = WorkKey(chunk.rid, chunk.attempt, chunk.hop, chunk.phase)
        if now - self._aborted.get(key, -ABORT_AGAIN_S) >= ABORT_AGAIN_S:
            self._aborted[key] = now
            unwanted.append(key)

    def _cancel(self, exchange: Exchange) -> None:
        now, begun = self._bus.clock.monotonic(), exchange.binding.attempt
        self._remember(exchange, exchange.attempts_cancelled(now, but=begun), now)
        attempts = exchange.attempts_cancelled(now)
        self._background.spawn(self._publish_cancel(exchange, attempts, abort=True), f"cancel of {exchange.rid}")

    def _cancel_others(self, exchange: Exchange, now: float) -> None:
        attempts = exchange.attempts_cancelled(now, but=exchange.binding.attempt)
        self._remember(exchange, attempts, now)
        self._background.spawn(self._publish_cancel(exchange, attempts, abort=False), f"cancel of {exchange.rid}")

    def _remember(self, exchange: Exchange, cancelled: list[Cancelled], now: float) -> None:
        self._cancels.remember((exchange.envelope.namespace, exchange.envelope.modelserver), cancelled, now)

    async def _publish_cancel(self, exchange: Exchange, attempts: list[Cancelled], *, abort: bool) -> None:
        source, envelope, subjects = exchange.binding.source, exchange.envelope, self._bus.subjects
        if abort and source is not None and source.pod:
            order = Abort([exchange.binding.key(exchange.rid)])
            await self._send(subjects.control(source.namespace, source.pod), encode(order))
        await self._send(subjects.cancel(envelope.namespace, envelope.modelserver), encode(CancelNotice(attempts)))

    async def _send(self, subject: str, data: bytes) -> None:
        try:
            await self._bus.signals.publish(subject, data)
        except BusError as error:  # the deadline ends the work anyway
            log.warning("could not publish to %s: %s", subject, error)
