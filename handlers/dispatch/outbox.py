"""Carries decisions out: verdicts to REQUESTS, rejections to gateways, aborts and lost halves to agents, dead
letters."""

from __future__ import annotations

import logging
from collections import defaultdict

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.control import Abort
from matrixinfer.bus.contracts.dead import DeadLetter
from matrixinfer.bus.contracts.frames import Chunk, ChunkKind, Failure, Frame
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.bus.errors import BusError
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.request import Held, Request

logger = logging.getLogger("matrixinfer.dispatch.outbox")

_GATEWAYS_REMEMBERED = 10_000


class Outbox:
    """Of one dispatcher process. What the bus refuses is logged, not tried again: an unacknowledged request comes again
    after the link is restored, and is compared with what is known then."""

    def __init__(self, bus: Bus, dispatcher_id: str) -> None:
        self._bus = bus
        self._boot = dispatcher_id
        self._frame_numbers: dict[str, int] = defaultdict(int)

    async def carry_out(self, namespace: str, effects: Effects) -> None:
        for request, reason in effects.buried:
            await self.bury(request.held, reason)
        if effects.failed:
            await self._reject(namespace, effects.failed)
        if effects.aborted:
            await self._abort(namespace, effects.aborted)
        for pod, handed in effects.handed:
            await self._publish(self._bus.subjects.handover(namespace, pod), encode(handed))
        for request in effects.acknowledged:
            await self.acknowledge(request.held)

    async def acknowledge(self, held: Held) -> None:
        try:
            await held.ack()
        except BusError as error:
            logger.warning("%s could not be acknowledged and will come again: %s", held.message_id, error)

    async def bury(self, held: Held, reason: str) -> None:
        letter = DeadLetter("REQUESTS", held.subject, held.message_id, reason, self._bus.clock.now(), held.data)
        try:
            await self._bus.queue.bury(letter)
        except BusError as error:
            logger.error("no dead letter could be kept for %s (%s): %s", held.message_id, reason, error)

    async def _reject(self, namespace: str, failed: list[tuple[Request, Failure]]) -> None:
        chunks: dict[str, list[Chunk]] = defaultdict(list)
        for request, failure in failed:
            rid, attempt = request.key
            chunk = Chunk(rid, attempt, request.hop, "whole", 0, ChunkKind.FAILED, encode(failure))
            chunks[request.gateway].append(chunk)
        if len(self._frame_numbers) > _GATEWAYS_REMEMBERED:
            self._frame_numbers.clear()  # gateways that came and went; a number is only a hint at a lost frame
        for gateway, batch in chunks.items():
            self._frame_numbers[gateway] += 1
            frame = Frame(namespace, "", self._boot, self._frame_numbers[gateway], batch)
            await self._publish(self._bus.subjects.frames(gateway), encode(frame))

    async def _abort(self, namespace: str, aborted: list[tuple[str, WorkKey]]) -> None:
        works: dict[str, list[WorkKey]] = defaultdict(list)
        for pod, work in aborted:
            works[pod].append(work)
        for pod, keys in works.items():
            await self._publish(self._bus.subjects.control(namespace, pod), encode(Abort(keys)))

    async def _publish(self, subject: str, data: bytes) -> None:
        try:
            await self._bus.signals.publish(subject, data)
        except BusError as error:
            logger.warning("a message to %s could not be sent: %s", subject, error)
