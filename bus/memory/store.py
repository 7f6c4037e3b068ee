"""The memory twin of Store, and its watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from matrixinfer.bus.clock import Clock
from matrixinfer.bus.memory.bucket import BucketState, under
from matrixinfer.bus.memory.link import MemoryLink
from matrixinfer.bus.memory.timers import Timers
from matrixinfer.bus.ports.store import Change, Entry


class MemoryWatch:
    """While the connection is down changes are missed; when it is back the differences come."""

    def __init__(self, bucket: BucketState, link: MemoryLink, prefix: str) -> None:
        self._bucket = bucket
        self._link = link
        self._prefix = prefix
        self.snapshot = {k: e for k, e in bucket.entries.items() if under(prefix, k)}
        self._known = {k: e.revision for k, e in self.snapshot.items()}
        self._changes: asyncio.Queue[Change | None] = asyncio.Queue()
        self._closed = False
        bucket.listeners.append(self._heard)
        link.on_up.append(self._compare)
        link.on_close.append(self._end)

    async def __aiter__(self) -> AsyncIterator[Change]:
        while not self._closed:
            change = await self._changes.get()
            if change is None:
                return
            yield change

    async def close(self) -> None:
        self._end()

    def _heard(self, change: Change) -> None:
        if not self._link.is_up() or not under(self._prefix, change.key):
            return
        if change.entry is None:
            self._known.pop(change.key, None)
        else:
            self._known[change.key] = change.entry.revision
        self._changes.put_nowait(change)

    def _compare(self) -> None:
        now = {k: e for k, e in self._bucket.entries.items() if under(self._prefix, k)}
        for entry in sorted(now.values(), key=lambda entry: entry.revision):
            if self._known.get(entry.key) != entry.revision:
                self._heard(Change.to(entry))
        for key in [k for k in self._known if k not in now]:
            self._heard(Change(key, None, self._bucket.revision))

    def _end(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._bucket.listeners.remove(self._heard)
        if self._compare in self._link.on_up:
            self._link.on_up.remove(self._compare)
        self._changes.put_nowait(None)


class MemoryStore:
    def __init__(self, bucket: BucketState, link: MemoryLink, clock: Clock, timers: Timers) -> None:
        self._bucket = bucket
        self._link = link
        self._clock = clock
        self._timers = timers

    async def get(self, key: str) -> Entry | None:
        self._link.require()
        return self._bucket.entries.get(key)

    async def put(self, key: str, value: bytes, *, revision: int | None = None, ttl_s: float | None = None) -> int:
        self._link.require()
        new_revision = self._bucket.put(self._clock.monotonic(), key, value, revision, ttl_s)
        expires_at = self._bucket.expires_at(key)
        if expires_at is not None:
            self._timers.at(expires_at, lambda: self._bucket.expire(key, self._clock.monotonic()))
        return new_revision

    async def delete(self, key: str, *, revision: int | None = None) -> int:
        self._link.require()
        return self._bucket.delete(key, revision)

    async def entries(self, prefix: str = "") -> dict[str, Entry]:
        self._link.require()
        return {k: e for k, e in self._bucket.entries.items() if under(prefix, k)}

    async def watch(self, prefix: str = "") -> MemoryWatch:
        self._link.require()
        return MemoryWatch(self._bucket, self._link, prefix)
