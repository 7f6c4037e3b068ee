"""Duties as FastStream subscribers, on consumers that are ours: made before it starts, and again when they vanish.

FastStream's pull goes silent when its consumer is deleted, and asks in a circle: so a guard looks after each consumer
every second and after every reconnect. Its own connection is nats-py's, apart from the bus's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.nats.message import NatsMessage

from matrixinfer.bus.app.duty import Desk, Duty
from matrixinfer.bus.background import spawn
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.errors import BusError, Unavailable
from matrixinfer.bus.jetstream.connection import PING_INTERVAL_S, PINGS_OUTSTANDING, Connection, inbox_prefix
from matrixinfer.bus.jetstream.consumers import Consumers
from matrixinfer.bus.settings import BusSettings

logger = logging.getLogger("matrixinfer.bus.app.over_faststream")

FETCH_S = 2.0
"""How long one pull waits: also how late the first message after a broken connection may come."""

GUARD_EVERY_S = 1.0
LEAVE_WITHIN_S = 2.0


class FastStreamMessage:
    """nats-py's message as a Desk sees it."""

    def __init__(self, message: NatsMessage) -> None:
        raw = message.raw_message
        self.subject = raw.subject
        self.data = raw.data
        self.message_id = (raw.headers or {}).get("Nats-Msg-Id", "")
        self.delivered = raw.metadata.num_delivered or 1
        self._message = message

    async def ack(self) -> None:
        await self._message.ack()

    async def nak(self, after_s: float) -> None:
        await self._message.nack(delay=after_s or None)

    async def in_progress(self) -> None:
        await self._message.in_progress()


class FastStreamServer:
    def __init__(self, bus: Bus, settings: BusSettings, desks: Sequence[tuple[Duty, Desk]]) -> None:
        if not isinstance(bus.link, Connection):
            raise TypeError("this bus was not made by bus.jetstream.connect")
        self._bus = bus
        self._settings = settings
        self._connection = bus.link
        self._duties = [duty for duty, _ in desks]
        self._consumers = Consumers(self._connection.api, self._connection.names)
        self._closed = asyncio.Event()
        self.broker = self._build(settings, desks)

    async def run(self) -> None:
        """Until cancelled. Raises Unavailable when FastStream's connection closed for good."""
        for duty in self._duties:
            await self._consumers.open(duty.consumer)
        self._connection.on_reconnect.append(self._after_reconnect)
        guarding = spawn(self._guard(), "guard consumers")
        try:
            await self._start()
            await self._closed.wait()
            raise Unavailable("FastStream's connection to the NATS server was closed for good")
        finally:
            guarding.cancel()
            self._connection.on_reconnect.remove(self._after_reconnect)
            await self.broker.stop()

    async def _start(self) -> None:
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await self.broker.start()
        except TimeoutError as error:
            raise Unavailable("FastStream could not connect to the NATS server") from error

    def _build(self, settings: BusSettings, desks: Sequence[tuple[Duty, Desk]]) -> NatsBroker:
        broker = NatsBroker(
            settings.url.split(","),
            name=f"{settings.name}-app",
            inbox_prefix=inbox_prefix(settings.url),
            pending_size=settings.pending_bytes,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            ping_interval=PING_INTERVAL_S,
            max_outstanding_pings=PINGS_OUTSTANDING,
            closed_cb=self._on_closed,
            graceful_timeout=LEAVE_WITHIN_S,
            apply_types=False,
            logger=logger,
            log_level=logging.DEBUG,
        )
        for duty, desk in desks:
            subscriber = broker.subscriber(
                duty.consumer.filter,
                durable=duty.consumer.name,
                stream=JStream(self._connection.names.stream(duty.consumer.stream), declare=False),
                inbox_prefix=f"{inbox_prefix(settings.url)}.".encode(),  # it does not take the broker's
                pull_sub=PullSub(batch_size=1, timeout=FETCH_S),
                ack_policy=AckPolicy.MANUAL,
                decoder=_whole,
                no_reply=True,
            )
            subscriber(_working(desk))
        return broker

    async def _on_closed(self) -> None:
        self._closed.set()

    async def _after_reconnect(self) -> None:
        for duty in self._duties:
            await self._guard_one(duty)

    async def _guard(self) -> None:
        while True:
            await self._bus.clock.sleep(GUARD_EVERY_S)
            await self._after_reconnect()

    async def _guard_one(self, duty: Duty) -> None:
        try:
            if not await self._consumers.exists(duty.consumer):
                await self._consumers.open(duty.consumer)
                logger.warning("consumer %s was gone; it is there again", duty.consumer.name)
        except BusError as error:
            logger.debug("consumer %s cannot be looked at now: %s", duty.consumer.name, error)


async def _whole(message: NatsMessage) -> NatsMessage:
    """The handler takes the message itself: nothing is decoded."""
    return message


def _working(desk: Desk) -> Callable[[NatsMessage], Awaitable[None]]:
    async def work(message: NatsMessage) -> None:
        await desk.work(FastStreamMessage(message))

    return work
