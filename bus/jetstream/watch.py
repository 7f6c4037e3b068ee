"""A watch that outlives readers: whenever one is in doubt, the bucket is read again and the differences are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from matrixinfer.bus.background import spawn
from matrixinfer.bus.errors import BusError
from matrixinfer.bus.jetstream.bucket_reader import BucketReader, OnChange, OnSnapshot
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.ports.store import Change, Entry

logger = logging.getLogger("matrixinfer.bus.jetstream.watch")

NewReader = Callable[[OnSnapshot, OnChange], BucketReader]

GUARD_EVERY_S = 1.0

Mark = tuple[int, int]
"""Revision and hash of a value: a bucket that was made again counts from 1, and may reach a known revision with
another value."""


class JetStreamWatch:
    snapshot: dict[str, Entry]

    def __init__(self, connection: Connection, new_reader: NewReader) -> None:
        self._connection = connection
        self._new_reader = new_reader
        self._changes: asyncio.Queue[Change | None] = asyncio.Queue()
        self._known: dict[str, Mark] = {}
        self._closed = False
        self._reading = asyncio.Lock()

    async def start(self) -> None:
        self._reader = self._new_reader(self._begin, self._heard)
        await self._reader.read()
        self._connection.on_reconnect.append(self._read_again)
        self._connection.on_close.append(self.close)
        self._guarding = spawn(self._guard(), "guard a watch")

    async def __aiter__(self) -> AsyncIterator[Change]:
        while not self._closed:
            change = await self._changes.get()
            if change is None:
                return
            yield change

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._connection.on_reconnect.remove(self._read_again)
        self._connection.on_close.remove(self.close)
        self._guarding.cancel()
        await self._reader.close()
        self._changes.put_nowait(None)

    def _begin(self, snapshot: dict[str, Entry]) -> None:
        self.snapshot = snapshot
        self._known = {key: _mark(entry) for key, entry in snapshot.items()}

    def _compare(self, now: dict[str, Entry]) -> None:
        """What was read anew holds, also where its revision is the lower one: the bucket may be another."""
        for entry in sorted(now.values(), key=lambda entry: entry.revision):
            if self._known.get(entry.key) != _mark(entry):
                self._tell(Change.to(entry))
        for key in [key for key in self._known if key not in now]:
            self._heard(Change(key, None, self._reader.reached))

    def _heard(self, change: Change) -> None:
        """Pass on what is news: a revision that is known is not. A marker is, also for a key that this watch never
        told of: the bucket keeps one message of a key, and who wrote the value may know it."""
        if change.entry is None:
            self._known.pop(change.key, None)
        elif self._known.get(change.key, (0, 0))[0] >= change.entry.revision:
            return
        self._tell(change)

    def _tell(self, change: Change) -> None:
        if change.entry is not None:
            self._known[change.key] = _mark(change.entry)
        self._changes.put_nowait(change)

    async def _guard(self) -> None:
        while True:
            await self._connection.clock.sleep(GUARD_EVERY_S)
            if self._connection.is_up() and (self._reader.doubtful or self._reader.is_silent()):
                await self._read_again()

    async def _read_again(self) -> None:
        async with self._reading:
            old, self._reader = self._reader, self._new_reader(self._compare, self._heard)
            await old.close()
            try:
                await self._reader.read()
            except BusError as error:
                self._reader.doubtful = True  # the guard tries again
                logger.warning("a watch could not read its bucket again yet: %s", error)
            if self._closed:
                await self._reader.close()


def _mark(entry: Entry) -> Mark:
    return entry.revision, hash(entry.value)
