"""Duties on the port Queue: what the memory bus, which FastStream cannot reach, offers."""

from __future__ import annotations

import asyncio

from matrixinfer.bus.app.duty import Desk, Duty
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.ports import Delivery


class QueuedMessage:
    def __init__(self, delivery: Delivery, clock: Clock) -> None:
        self.subject = delivery.subject
        self.data = delivery.data
        self.message_id = delivery.message_id
        self.delivered = delivery.delivered
        self._delivery = delivery
        self._clock = clock

    async def ack(self) -> None:
        await self._delivery.ack()

    async def nak(self, after_s: float) -> None:
        if after_s > 0:
            await self._clock.sleep(after_s)
        await self._delivery.nak()

    async def in_progress(self) -> None:
        await self._delivery.in_progress()


async def serve_over_queue(bus: Bus, duty: Duty, desk: Desk) -> None:
    """Until cancelled: one message in hand at a time, as over FastStream."""
    waiting: asyncio.Queue[Delivery] = asyncio.Queue()
    consumption = await bus.queue.consume(duty.consumer, waiting.put, credits=1)
    try:
        while True:
            await desk.work(QueuedMessage(await waiting.get(), bus.clock))
            consumption.grant(1)
    finally:
        await consumption.stop()
        while not waiting.empty():
            await waiting.get_nowait().nak()
