"""Duties as FastStream subscribers, on consumers that are ours: made before it starts, and again when they vanish.

FastStream's pull goes silent when its consumer is deleted. So a guard looks after every consumer every two seconds: it
makes the missing ones again, and starts FastStream anew when nobody pulls. Over a connection that closed,
FastStream pulls in a circle that never lets go of the event loop: so it gets our client, which never closes by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.nats.message import NatsMessage

from matrixinfer.bus.app.duty import Desk, Duty
from matrixinfer.bus.background import apart
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.errors import BusError, Unavailable
from matrixinfer.bus.jetstream.client import Client
from matrixinfer.bus.jetstream.connection import PING_INTERVAL_S, PINGS_OUTSTANDING, Connection, inbox_prefix
from matrixinfer.bus.jetstream.consumers import Consumers
from matrixinfer.bus.settings import BusSettings

logger = logging.getLogger("matrixinfer.bus.app.over_faststream")
faststream_logger = logging.getLogger("matrixinfer.bus.app.faststream")
faststream_logger.setLevel(logging.WARNING)  # at INFO it tells of every task that ends

FETCH_S = 2.0
"""How long one pull waits: also how late the first message after a broken connection may come."""

GUARD_EVERY_S = 2.0
STALLED_AFTER = 3
"""Looks in a row at which nobody pulled, though nothing was in work here."""

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


class Broker(NatsBroker):
    """With our client, and without FastStream's callback for errors, which can end a reconnect."""

    async def _connect(self) -> Client:
        connection = Client()
        await connection.connect(**{**self._connection_kwargs, "error_cb": _note})
        self.config.connect(connection)
        return connection


class FastStreamServer:
    def __init__(self, bus: Bus, settings: BusSettings, desks: Sequence[tuple[Duty, Desk]]) -> None:
        if not isinstance(bus.link, Connection):
            raise TypeError("this bus was not made by bus.jetstream.connect")
        self._clock = bus.clock
        self._settings = settings
        self._connection = bus.link
        self._desks = tuple(desks)
        self._consumers = Consumers(self._connection.api, self._connection.names)
        self.broker: NatsBroker | None = None

    async def run(self) -> None:
        """Until cancelled, through all that may happen to the server. Raises Denied and Conflict: the consumers cannot
        be had."""
        self._connection.on_reconnect.append(self._after_reconnect)
        try:
            while True:
                try:
                    await self._serve()
                    logger.warning("FastStream stopped pulling; it is started anew")
                except Unavailable as error:
                    logger.warning("control-plane handlers cannot be served yet: %s", error)
                    await self._clock.sleep(GUARD_EVERY_S)
        finally:
            self._connection.on_reconnect.remove(self._after_reconnect)

    async def _serve(self) -> None:
        """Returns when FastStream is of no more use."""
        for duty, _ in self._desks:
            await self._consumers.open(duty.consumer)
        self.broker = broker = self._build()
        try:
            await self._start(broker)
            await self._guard()
        finally:
            await _stop(broker)

    async def _start(self, broker: NatsBroker) -> None:
        """FastStream asks the server for each consumer and passes on whatever nats-py says when no answer comes."""
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await apart(broker.start(), "start FastStream")
        except Exception as error:
            raise Unavailable(f"FastStream could not start: {type(error).__name__} {error}") from error

    def _build(self) -> NatsBroker:
        settings = self._settings
        broker = Broker(
            settings.url.split(","),
            name=f"{settings.name}-app",
            inbox_prefix=inbox_prefix(settings.url),
            pending_size=settings.pending_bytes,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            ping_interval=PING_INTERVAL_S,
            max_outstanding_pings=PINGS_OUTSTANDING,
            graceful_timeout=LEAVE_WITHIN_S,
            apply_types=False,
            logger=faststream_logger,
            log_level=logging.DEBUG,
        )
        for duty, desk in self._desks:
            self._subscribe(broker, duty, desk)
        return broker

    def _subscribe(self, broker: NatsBroker, duty: Duty, desk: Desk) -> None:
        subscriber = broker.subscriber(
            duty.consumer.filter,
            durable=duty.consumer.name,
            stream=JStream(self._connection.names.stream(duty.consumer.stream), declare=False),
            inbox_prefix=f"{inbox_prefix(self._settings.url)}.".encode(),  # it does not take the broker's
            pull_sub=PullSub(batch_size=1, timeout=FETCH_S),
            ack_policy=AckPolicy.MANUAL,
            decoder=_whole,
            no_reply=True,
        )
        subscriber(_working(desk))

    async def _guard(self) -> None:
        """Returns when nobody pulls any more."""
        stalled = 0
        while stalled < STALLED_AFTER:
            await self._clock.sleep(GUARD_EVERY_S)
            stalled = stalled + 1 if await self._look() else 0

    async def _after_reconnect(self) -> None:
        await self._look()

    async def _look(self) -> bool:
        """Make the consumers that are gone again. Is there one that nobody pulls from?

        Whether messages wait does not matter: one that was sent to a pull that nobody heard counts as delivered."""
        stalled = False
        for duty, desk in self._desks:
            try:
                looks = await self._consumers.look(duty.consumer)
                if looks is None:
                    await self._consumers.open(duty.consumer)
                    logger.warning("consumer %s was gone; it is there again", duty.consumer.name)
                elif not looks.pulls and not desk.is_busy:
                    stalled = True
            except BusError as error:
                logger.debug("consumer %s cannot be looked at now: %s", duty.consumer.name, error)
        return stalled


async def _stop(broker: NatsBroker) -> None:
    """FastStream drains its connection, which a broken one refuses; it must be closed all the same."""
    connection = broker._connection
    try:
        await apart(broker.stop(), "stop FastStream")
    except Exception:
        logger.exception("FastStream could not end in good order; what it had in hand comes again")
    finally:
        if connection is not None and not connection.is_closed:
            await connection.close()


async def _note(error: Exception) -> None:
    logger.debug("FastStream's connection to NATS: %r", error)


async def _whole(message: NatsMessage) -> NatsMessage:
    """The handler takes the message itself: nothing is decoded."""
    return message


def _working(desk: Desk) -> Callable[[NatsMessage], Awaitable[None]]:
    async def work(message: NatsMessage) -> None:
        await desk.work(FastStreamMessage(message))

    return work
