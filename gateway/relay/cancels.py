"""Cancels that a dispatcher may not have heard, or may have died with: each new reign over a shard is told again. Pure.

What an agent has begun is not among them: its agent is told by name, and tells the next dispatcher that it ended.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from matrixinfer.bus.contracts.dispatch import Cancelled, CancelNotice, QueueReport

MOST_REMEMBERED = 20_000
"""About 250 bytes each. Beyond it the oldest is forgotten: should it run all the same, its first chunk ends it."""
IN_A_NOTICE = 1000
"""About 50 bytes each."""

PoolName = tuple[str, str]
"""Namespace and ModelServer."""


class _Kept(NamedTuple):
    pool: PoolName
    until: float


class Cancels:
    """Of one gateway worker. `now` is monotonic seconds."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[str, int], _Kept] = OrderedDict()
        self._epochs: dict[tuple[str, str, int], int] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def remember(self, pool: PoolName, cancelled: Iterable[Cancelled], now: float) -> None:
        """These were published now, or should have been."""
        for one in cancelled:
            self._kept[one.rid, one.attempt] = _Kept(pool, now + one.remaining_s)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def due(self, report: QueueReport, now: float) -> Iterator[CancelNotice]:
        """What the reign must be told that speaks in `report`: nothing, unless this is its first word."""
        shard = (report.namespace, report.modelserver, report.shard)
        if report.epoch <= self._epochs.get(shard, 0):
            return
        self._epochs[shard] = report.epoch
        due = [
            Cancelled(rid, attempt, kept.until - now)
            for (rid, attempt), kept in self._kept.items()
            if kept.pool == shard[:2] and kept.until > now
        ]
        for start in range(0, len(due), IN_A_NOTICE):
            yield CancelNotice(due[start : start + IN_A_NOTICE])

    def sweep(self, now: float) -> None:
        """Forget what is past its deadline. To be called about once a second."""
        over = [key for key, kept in self._kept.items() if kept.until <= now]
        for key in over:
            del self._kept[key]
