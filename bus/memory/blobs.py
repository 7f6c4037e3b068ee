"""The memory twin of Blobs."""

from __future__ import annotations

import asyncio
import contextlib

from matrixinfer.bus.errors import Unavailable
from matrixinfer.bus.memory.link import MemoryLink
from matrixinfer.bus.memory.queue import MemoryQueue
from matrixinfer.bus.memory.streams import Streams
from matrixinfer.bus.ports.queue import Stored
from matrixinfer.bus.subjects import Subjects
from matrixinfer.bus.topology import BODIES


class MemoryBlobs:
    def __init__(self, streams: Streams, link: MemoryLink, subjects: Subjects, queue: MemoryQueue) -> None:
        self._streams = streams
        self._link = link
        self._subjects = subjects
        self._queue = queue

    async def put(self, reference: str, data: bytes, *, ttl_s: float) -> asyncio.Future[Stored]:
        self._subjects.parse_body(reference)
        return await self._queue.post(reference, data, message_id=reference, ttl_s=ttl_s)

    async def get(self, reference: str) -> bytes | None:
        self._subjects.parse_body(reference)
        self._link.require()
        message = self._streams.get(self._subjects.prefix, BODIES).last(reference)
        return message.data if message is not None else None

    def remove(self, reference: str) -> None:
        self._subjects.parse_body(reference)
        with contextlib.suppress(Unavailable):
            self._link.send(lambda: self._delete(reference))

    def _delete(self, reference: str) -> None:
        stream = self._streams.get(self._subjects.prefix, BODIES)
        while (message := stream.last(reference)) is not None:
            stream.remove(message.sequence)
