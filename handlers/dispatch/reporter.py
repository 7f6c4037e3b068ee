"""Publishes the queue of one pool's shard, four times a second while there is something to tell."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import msgspec

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.dispatch import PluginTiming, QueueReport
from matrixinfer.bus.errors import BusError
from matrixinfer.handlers.dispatch.assignment import PoolShard
from matrixinfer.handlers.dispatch.cache_index.told_caches import ToldCaches
from matrixinfer.handlers.dispatch.pool_state import PoolState
from matrixinfer.handlers.dispatch.report import DrainRate, queue_report
from matrixinfer.handlers.dispatch.scheduling.timings import Timing

logger = logging.getLogger("matrixinfer.dispatch.reporter")

_EVERY_S = 0.25


class Reporter:
    def __init__(
        self,
        bus: Bus,
        shard: PoolShard,
        state: PoolState,
        caches: ToldCaches,
        timings: Callable[[], Mapping[str, Timing]],
    ) -> None:
        self._bus = bus
        self._shard = shard
        self._state = state
        self._caches = caches
        self._timings = timings
        self._subject = bus.subjects.queue(shard.namespace, shard.modelserver)
        self._last: tuple[int, ...] | None = None
        self._due_at = 0.0
        self.rate = DrainRate()

    async def announce(self, now: float) -> None:
        """A reign has begun: gateways repeat their cancels to it as soon as they hear of it."""
        self._due_at, self._last = 0.0, None
        await self.tick(now)

    async def tick(self, now: float) -> None:
        if now < self._due_at:
            return
        self._due_at = now + _EVERY_S
        self.rate.measure(now)
        report = queue_report(self._shard, self._state, self.rate.per_s, now)
        suspicions = [str(suspicion) for suspicion in self._caches.suspicions()]
        timings = [
            PluginTiming(name, *msgspec.structs.astuple(one)) for name, one in self._timings().items() if one.calls
        ]
        report = msgspec.structs.replace(report, suspicions=suspicions, timings=timings)
        telling = (report.queued, report.placed, report.pods_ready, report.epoch, len(report.suspicions))
        if report.queued or report.placed or report.suspicions or telling != self._last:
            self._last = telling
            await self._publish(report)

    def _measured(self) -> list[PluginTiming]:
        timings = self._timings().items()
        return [PluginTiming(name, one.calls, one.total_s, one.longest_s) for name, one in timings if one.calls]

    async def _publish(self, report: QueueReport) -> None:
        try:
            await self._bus.signals.publish(self._subject, encode(report))
        except BusError as error:
            logger.debug("the report of %s is lost: %s", self._shard.claim_name, error)
