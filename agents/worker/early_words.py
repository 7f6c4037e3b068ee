"""What was handed over before the work came that waits for it. Pure: `now` is in monotonic seconds."""

from __future__ import annotations

from collections import OrderedDict

from matrixinfer.bus.contracts.disaggregation import Handed
from matrixinfer.bus.contracts.load import WorkKey

KEEP_S = 600.0
KEEP_COUNT = 4096
KEEP_BYTES = 64 * 1024 * 1024


class EarlyWords:
    """Bounded in time, count and bytes; the oldest goes first. One that went makes its decode half wait in vain, and
    run alone."""

    def __init__(self) -> None:
        self._kept: OrderedDict[WorkKey, tuple[float, Handed]] = OrderedDict()
        self._size_bytes = 0

    def keep(self, handed: Handed, now: float) -> None:
        """The first word about a piece of work counts."""
        if handed.key not in self._kept:
            self._kept[handed.key] = (now, handed)
            self._size_bytes += len(handed.params)
        self.forget(now)

    def take(self, key: WorkKey) -> Handed | None:
        """What came for this work, once."""
        entry = self._kept.pop(key, None)
        if entry is None:
            return None
        self._size_bytes -= len(entry[1].params)
        return entry[1]

    def forget(self, now: float) -> None:
        """Drop what is too old or too much."""
        kept = self._kept
        while kept and (
            len(kept) > KEEP_COUNT or self._size_bytes > KEEP_BYTES or next(iter(kept.values()))[0] <= now - KEEP_S
        ):
            self.take(next(iter(kept)))
