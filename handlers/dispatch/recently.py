"""What must be remembered for a while: settled requests, cancelled ones that were never seen, deaths."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recently(Generic[K, V]):
    """A bounded memory: each entry has a time until which it matters; beyond `limit` the oldest entry goes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def remember(self, key: K, value: V, until: float) -> None:
        self._entries[key] = (until, value)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def get(self, key: K, now: float) -> V | None:
        entry = self._entries.get(key)
        return entry[1] if entry is not None and now < entry[0] else None

    def forget(self, key: K) -> None:
        self._entries.pop(key, None)

    def items(self, now: float) -> list[tuple[K, V, float]]:
        """What matters still, with the time until which it does, in the order in which it was remembered."""
        return [(key, value, until) for key, (until, value) in self._entries.items() if now < until]

    def sweep(self, now: float) -> None:
        """Drop what matters no more, from the oldest on; one that still matters shields the younger until it goes."""
        while self._entries:
            key, (until, _) = next(iter(self._entries.items()))
            if now < until:
                return
            del self._entries[key]
