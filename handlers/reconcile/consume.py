"""Keys on RECONCILE become calls of the loop: eight partitions, one key at a time in each, on any process.

A key stays in the queue until its verdict. "Later" is the server's own schedule, never a delayed refusal: that would
hold up the whole partition.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts.dead import DeadLetter
from matrixinfer.bus.errors import BusError, Malformed, Reject, Retry
from matrixinfer.bus.ports import Consumer, Consumption, Delivery
from matrixinfer.bus.subjects import RECONCILE_PARTITIONS
from matrixinfer.bus.topology import ACK_WAIT_RECONCILE_S
from matrixinfer.handlers.reconcile.triggers import Key

logger = logging.getLogger("matrixinfer.handlers.reconcile.consume")

STREAM = "RECONCILE"
Reconcile = Callable[[Key], Awaitable[None]]


class ReconcileQueue:
    """Takes keys from `open` to `close`; `run` ends with an error when a defect stops the work."""

    def __init__(self, bus: Bus, reconcile: Reconcile) -> None:
        self._bus = bus
        self._reconcile = reconcile

    async def run(self) -> None:
        """Until cancelled; what was in work then is given back and done by somebody else."""
        async with asyncio.TaskGroup() as group:
            for partition in range(RECONCILE_PARTITIONS):
                group.create_task(self._serve(partition), name=f"reconcile {partition}")

    async def _serve(self, partition: int) -> None:
        inbox: asyncio.Queue[Delivery] = asyncio.Queue()
        consumption = await self._bus.queue.consume(self._consumer(partition), inbox.put, credits=1)
        try:
            while True:
                await self._work(await inbox.get())
                consumption.grant(1)
        finally:
            await self._leave(consumption, inbox)

    async def _leave(self, consumption: Consumption, inbox: asyncio.Queue[Delivery]) -> None:
        await consumption.stop()
        while not inbox.empty():
            await inbox.get_nowait().nak()

    def _consumer(self, partition: int) -> Consumer:
        filter_ = self._bus.subjects.reconcile_filter(partition)
        return Consumer(STREAM, f"reconcile-{partition}", filter_, ACK_WAIT_RECONCILE_S, max_ack_pending=1)

    async def _work(self, delivery: Delivery) -> None:
        heartbeat = asyncio.create_task(self._keep(delivery))
        try:
            await self._judge(delivery)
        except BusError as error:  # it comes again after the ack wait
            logger.warning("the verdict on %s could not be sent: %s", delivery.subject, error)
        except asyncio.CancelledError:
            await delivery.nak()
            raise
        finally:
            heartbeat.cancel()

    async def _judge(self, delivery: Delivery) -> None:
        try:
            await self._reconcile(Key(*self._bus.subjects.parse_reconcile(delivery.subject)[1:]))
        except Retry as verdict:
            logger.debug("%s: %s", delivery.subject, verdict)
            await self._later(delivery.subject, verdict.after_s)
        except (Reject, Malformed) as verdict:
            await self._bury(delivery, str(verdict))
        await delivery.ack()

    async def _keep(self, delivery: Delivery) -> None:
        while True:
            await self._bus.clock.sleep(ACK_WAIT_RECONCILE_S / 3)
            try:
                await delivery.in_progress()
            except BusError as error:
                logger.warning("%s could not be kept in work: %s", delivery.subject, error)

    async def _later(self, subject: str, after_s: float) -> None:
        await (await self._bus.queue.post_later(STREAM, subject, b"", after_s=after_s, key=subject))

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        letter = DeadLetter(
            stream=STREAM,
            subject=delivery.subject,
            message_id=delivery.message_id,
            reason=reason,
            at=self._bus.clock.now(),
            data=delivery.data,
        )
        await self._bus.queue.bury(letter)
