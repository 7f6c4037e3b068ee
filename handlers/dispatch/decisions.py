"""The record of placements, in batches: what was decided, among which pods, with which scores."""

from __future__ import annotations

import asyncio
import logging

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.decision import Decision, DecisionBatch
from matrixinfer.bus.errors import BusError
from matrixinfer.bus.ports import Stored
from matrixinfer.handlers.dispatch.assignment import PoolShard
from matrixinfer.handlers.dispatch.placing import Placement
from matrixinfer.handlers.dispatch.settings import DispatchSettings

logger = logging.getLogger("matrixinfer.dispatch.decisions")


class DecisionLog:
    """Of one pool's shard. A batch that cannot be stored is lost, and logged: placing never waits for its record."""

    def __init__(self, bus: Bus, shard: PoolShard, settings: DispatchSettings) -> None:
        self._bus = bus
        self._shard = shard
        self._settings = settings
        self._pending: list[Decision] = []
        self._since = 0.0
        self._batches = 0

    def record(self, placement: Placement) -> None:
        request, work = placement.request, placement.work
        if not self._pending:
            self._since = self._bus.clock.monotonic()
        self._pending.append(
            Decision(
                work.rid,
                work.attempt,
                work.hop,
                request.tenant,
                placement.pod,
                placement.boot,
                self._bus.clock.now(),
                placement.queued_s,
                request.prompt_tokens,
                placement.candidates,
                placement.policy,
            )
        )

    def is_due(self, now: float) -> bool:
        return bool(self._pending) and now - self._since >= self._settings.decisions_every_s

    def is_full(self) -> bool:
        return len(self._pending) >= self._settings.decisions_batch

    async def flush(self, epoch: int) -> None:
        if not self._pending:
            return
        batch = DecisionBatch(self._shard.namespace, self._shard.modelserver, epoch, self._pending)
        self._pending = []
        self._batches += 1
        subject = self._bus.subjects.decision(self._shard.namespace, self._shard.modelserver)
        message_id = f"{self._shard.claim_name}:{epoch}:{self._batches}"
        try:
            stored = await self._bus.queue.post(subject, encode(batch), message_id=message_id)
        except BusError as error:
            _lost(len(batch.decisions), error)
        else:
            stored.add_done_callback(lambda future: _look(future, len(batch.decisions)))


def _look(stored: asyncio.Future[Stored], count: int) -> None:
    if not stored.cancelled() and (error := stored.exception()) is not None:
        _lost(count, error)


def _lost(count: int, error: BaseException) -> None:
    logger.warning("the record of %d placements is lost: %s", count, error)
