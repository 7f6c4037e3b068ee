"""One bucket as the server keeps it: values, revisions, times to live. Takes the time as an argument."""

from __future__ import annotations

import math
from collections.abc import Callable

from matrixinfer.bus.errors import Conflict, TooLarge
from matrixinfer.bus.ports.store import Change, Entry
from matrixinfer.bus.topology import Bucket


class BucketState:
    def __init__(self, spec: Bucket) -> None:
        self.spec = spec
        self.entries: dict[str, Entry] = {}
        self.listeners: list[Callable[[Change], None]] = []
        self._expires_at: dict[str, float] = {}
        self.revision = 0

    def put(self, now: float, key: str, value: bytes, revision: int | None, ttl_s: float | None) -> int:
        if len(value) > self.spec.max_value_bytes:
            raise TooLarge(f"{len(value)} bytes for {key!r}: {self.spec.name} takes {self.spec.max_value_bytes}")
        self._expect(key, revision)
        self.revision += 1
        self.entries[key] = Entry(key, value, self.revision)
        self._expires_at.pop(key, None)
        if ttl_s is not None:
            self._expires_at[key] = now + math.ceil(max(1.0, ttl_s))
        self._tell(Change.to(self.entries[key]))
        return self.revision

    def delete(self, key: str, revision: int | None) -> int:
        self._expect(key, revision)
        return self._remove(key)

    def expire(self, key: str, now: float) -> None:
        """Remove `key` if its time has come: a later put may have moved or taken away its time to live."""
        if self._expires_at.get(key, math.inf) <= now:
            self._remove(key)

    def lose(self) -> None:
        """Forget everything, the revisions too. Listeners are not told, as nobody would be by a server."""
        self.entries.clear()
        self._expires_at.clear()
        self.revision = 0

    def expires_at(self, key: str) -> float | None:
        return self._expires_at.get(key)

    def _expect(self, key: str, revision: int | None) -> None:
        entry = self.entries.get(key)
        found = entry.revision if entry is not None else 0
        if revision is not None and revision != found:
            raise Conflict(f"{self.spec.name} {key!r}: expected revision {revision}, met {found or 'nothing'}")

    def _remove(self, key: str) -> int:
        self._expires_at.pop(key, None)
        if self.entries.pop(key, None) is None:
            return 0
        self.revision += 1  # the marker that tells of a deletion is a message of its own
        self._tell(Change(key, None, self.revision))
        return self.revision

    def _tell(self, change: Change) -> None:
        for listener in list(self.listeners):
            listener(change)


def under(prefix: str, key: str) -> bool:
    """Is `key` the prefix itself or below it, token by token?"""
    return not prefix or key == prefix or key.startswith(prefix + ".")
