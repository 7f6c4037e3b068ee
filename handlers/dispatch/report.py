"""What dispatch tells of a queue, and how long the last in it may have to wait."""

from __future__ import annotations

import math

from matrixinfer.bus.contracts.dispatch import QueueReport
from matrixinfer.handlers.dispatch.assignment import PoolShard
from matrixinfer.handlers.dispatch.pool_state import PoolState

_MEMORY_S = 10.0
_STANDSTILL_PER_S = 0.01


class DrainRate:
    """Placements a second, decayed over ten seconds."""

    def __init__(self) -> None:
        self.per_s = 0.0
        self._counted = 0
        self._since: float | None = None

    def count(self, placements: int) -> None:
        self._counted += placements

    def measure(self, now: float) -> None:
        if self._since is not None and now > self._since:
            elapsed_s = now - self._since
            keep = math.exp(-elapsed_s / _MEMORY_S)
            self.per_s = keep * self.per_s + (1 - keep) * self._counted / elapsed_s
        self._since = now
        self._counted = 0


def predicted_wait_s(queued: int, oldest_age_s: float, rate_per_s: float) -> float:
    """By the rate of late; while nothing moves, as long as the oldest has waited already."""
    if queued == 0:
        return 0.0
    return queued / rate_per_s if rate_per_s > _STANDSTILL_PER_S else oldest_age_s


def queue_report(shard: PoolShard, state: PoolState, rate_per_s: float, now: float) -> QueueReport:
    oldest = state.queue.oldest()
    oldest_age_s = max(0.0, now - oldest.since) if oldest is not None else 0.0
    queued = len(state.queue)
    return QueueReport(
        shard.namespace,
        shard.modelserver,
        shard.shard,
        state.epoch,
        queued,
        state.placed,
        state.queue.size_bytes,
        oldest_age_s,
        state.fleet.serving(),
        predicted_wait_s(queued, oldest_age_s, rate_per_s),
    )
