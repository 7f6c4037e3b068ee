"""One duty: a durable consumer, its handler, and the way of a message from the one to its verdict."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from matrixinfer.bus.app.verdicts import Again, Dead, Done, Later, Patience, judge
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts.dead import DeadLetter
from matrixinfer.bus.errors import BusError, Verdict
from matrixinfer.bus.ports import Consumer
from matrixinfer.bus.topology import STREAMS

logger = logging.getLogger("matrixinfer.bus.app.duty")

Handle = Callable[[str, bytes], Awaitable[None]]
"""Called with subject and data. Returning means done; raises Retry, Reject, or anything else when it failed."""


@dataclass(frozen=True)
class Duty:
    consumer: Consumer
    handle: Handle


class InHand(Protocol):
    """A message of either kind of bus."""

    subject: str
    data: bytes
    message_id: str
    delivered: int

    async def ack(self) -> None: ...

    async def nak(self, after_s: float) -> None: ...

    async def in_progress(self) -> None: ...


class Desk:
    """Works off what one duty is given, one message at a time."""

    def __init__(self, bus: Bus, duty: Duty, patience: Patience) -> None:
        self._bus = bus
        self._duty = duty
        self._patience = patience
        self.is_busy = False
        self._can_schedule = any(spec.name == duty.consumer.stream and spec.schedules for spec in STREAMS)

    async def work(self, message: InHand) -> None:
        """Never raises but for cancellation, on which the message is given back. A verdict that cannot be sent is
        logged: the message comes again after the ack wait."""
        self.is_busy = True
        beating = asyncio.create_task(self._beat(message), name=f"in progress {message.subject}")
        try:
            error = await self._handle(message)
            await self._settle(message, error)
        except asyncio.CancelledError:
            await message.nak(0.0)
            raise
        except Exception:
            logger.exception("the verdict on %s could not be sent; it comes again", message.subject)
        finally:
            self.is_busy = False
            beating.cancel()

    async def _handle(self, message: InHand) -> Exception | None:
        try:
            await self._duty.handle(message.subject, message.data)
        except Verdict as verdict:
            logger.debug("%s: %s", message.subject, verdict)
            return verdict
        except Exception as error:
            logger.exception("%s failed, delivery %d", message.subject, message.delivered)
            return error
        return None

    async def _settle(self, message: InHand, error: Exception | None) -> None:
        match judge(error, message.delivered, self._patience, can_schedule=self._can_schedule):
            case Done():
                await message.ack()
            case Later(after_s):
                await self._post_later(message, after_s)
                await message.ack()
            case Dead(reason):
                await self._bus.queue.bury(self._letter(message, reason))
                await message.ack()
            case Again(after_s):
                await message.nak(after_s)

    async def _post_later(self, message: InHand, after_s: float) -> None:
        stream, subject = self._duty.consumer.stream, message.subject
        await (await self._bus.queue.post_later(stream, subject, message.data, after_s=after_s, key=subject))

    def _letter(self, message: InHand, reason: str) -> DeadLetter:
        logger.warning("%s becomes a dead letter: %s", message.subject, reason)
        stream, now = self._duty.consumer.stream, self._bus.clock.now()
        return DeadLetter(stream, message.subject, message.message_id, reason, now, message.data)

    async def _beat(self, message: InHand) -> None:
        while True:
            await self._bus.clock.sleep(self._duty.consumer.ack_wait_s / 3)
            try:
                await message.in_progress()
            except BusError as error:
                logger.warning("%s could not be kept in work: %s", message.subject, error)
