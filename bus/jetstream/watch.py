"""A watch that outlives readers: whenever one is in doubt, the bucket is read again and the differences are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from matrixinfer.bus.errors import BusError
from matrixinfer.bus.jetstream.bucket_reader import HEARTBEAT_S, BucketReader
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.ports.store import Change, Entry

logger = logging.getLogger("matrixinfer.bus.jetstream.watch")

NewReader = Callable[[Callable[[Change], None]], BucketReader]


class JetStreamWatch:
    snapshot: dict[str, Entry]

    def __init__(self, connection: Connection, new_reader: NewReader) -> None:
        self._connection = connection
        self._new_reader = new_reader
        self._changes: asyncio.Queue[Change | None] = asyncio.Queue()
        self._known: dict[str, int] = {}
        self._closed = False
        self._wake = asyncio.Event()

    async def start(self) -> None:
        self._reader = self._new_reader(self._heard)
        self.snapshot = await self._reader.read()
        self._known.update({key: entry.revision for key, entry in self.snapshot.items()})
        self._connection.on_reconnect.append(self._after_reconnect)
        self._connection.on_close.append(self.close)
        self._guarding = asyncio.create_task(self._guard(), name="guard a watch")

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
        self._connection.on_reconnect.remove(self._after_reconnect)
        self._connection.on_close.remove(self.close)
        self._guarding.cancel()
        await self._reader.close()
        self._changes.put_nowait(None)

    def _heard(self, change: Change) -> None:
        """Pass on what is news: a marker for a key that was not there, or an older revision, is not."""
        if change.entry is None:
            if self._known.pop(change.key, None) is None:
                return
        elif self._known.get(change.key, 0) >= change.entry.revision:
            return
        else:
            self._known[change.key] = change.entry.revision
        self._changes.put_nowait(change)

    async def _after_reconnect(self) -> None:
        self._reader.doubtful = True
        self._wake.set()

    async def _guard(self) -> None:
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            silent_s = self._connection.clock.monotonic() - self._reader.heard_at
            if self._connection.is_up() and (self._reader.doubtful or silent_s > 2.5 * HEARTBEAT_S):
                await self._read_again()

    async def _read_again(self) -> None:
        old, self._reader = self._reader, self._new_reader(self._heard)
        await old.close()
        try:
            now = await self._reader.read()
        except BusError as error:
            logger.warning("a watch could not read its bucket again yet: %s", error)
            self._reader.doubtful = True
            await self._connection.clock.sleep(0.25)
            self._wake.set()
            return
        for key in [key for key in self._known if key not in now]:
            self._heard(Change(key, None))
        for key, entry in now.items():
            self._heard(Change(key, entry))
