"""The memory twin of Queue: one connection's posts and readers."""

from __future__ import annotations

import asyncio

from matrixinfer.bus.contracts.codec import encode
from matrixinfer.bus.contracts.dead import DeadLetter
from matrixinfer.bus.dead_letters import dead_letter_id
from matrixinfer.bus.errors import BusError, TooLarge, Unavailable
from matrixinfer.bus.memory.link import MemoryLink
from matrixinfer.bus.memory.reader import MemoryConsumption
from matrixinfer.bus.memory.streams import Streams
from matrixinfer.bus.ports.queue import Backlog, Consumer, DeliveryHandler, Stored
from matrixinfer.bus.subjects import Subjects
from matrixinfer.bus.topology import MAX_PAYLOAD_BYTES

ANSWER_TIMEOUT_S = 5.0


class MemoryQueue:
    def __init__(self, streams: Streams, link: MemoryLink, subjects: Subjects) -> None:
        self._streams = streams
        self._link = link
        self._subjects = subjects

    async def post(
        self, subject: str, data: bytes, *, message_id: str, ttl_s: float | None = None
    ) -> asyncio.Future[Stored]:
        future: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()

        def store() -> None:
            try:
                stored = self._streams.store(subject, data, message_id, ttl_s)
            except BusError as error:
                _fail(future, error)
            else:
                if not future.done():
                    future.set_result(stored)

        if len(data) > MAX_PAYLOAD_BYTES:
            raise TooLarge(f"{len(data)} bytes for {subject}: the server takes {MAX_PAYLOAD_BYTES}")
        self._send(store, future)
        return future

    async def post_later(
        self, stream: str, subject: str, data: bytes, *, after_s: float, key: str
    ) -> asyncio.Future[Stored]:
        future: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        waiting = self._subjects.later(stream, key)

        def schedule() -> None:
            try:
                stored = self._streams.schedule(waiting, subject, data, after_s)
            except BusError as error:
                _fail(future, error)
            else:
                if not future.done():
                    future.set_result(stored)

        self._send(schedule, future)
        return future

    async def consume(self, consumer: Consumer, handler: DeliveryHandler, *, credits: int) -> MemoryConsumption:
        self._link.require()
        consumption = MemoryConsumption(self._streams, self._link, self._subjects.prefix, consumer, handler)
        consumption.open()
        consumption.grant(credits)
        return consumption

    async def bury(self, letter: DeadLetter) -> None:
        subject = self._subjects.dead(letter.stream)
        await (await self.post(subject, encode(letter), message_id=dead_letter_id(letter)))

    async def remove(self, stored: Stored) -> bool:
        self._link.require()
        return self._streams.get(self._subjects.prefix, stored.stream).remove(stored.sequence)

    async def backlog(self, consumer: Consumer) -> Backlog:
        self._link.require()
        return self._streams.backlog(self._subjects.prefix, consumer)

    def _send(self, action: object, future: asyncio.Future[Stored]) -> None:
        assert callable(action)
        try:
            self._link.send(action)
        except Unavailable as error:
            _fail(future, error)
        if not future.done():
            self._streams.timers.at(
                self._streams.clock.monotonic() + ANSWER_TIMEOUT_S,
                lambda: _fail(future, Unavailable(f"the server did not answer within {ANSWER_TIMEOUT_S:g} s")),
            )


def _fail(future: asyncio.Future[Stored], error: BusError) -> None:
    if not future.done():
        future.set_exception(error)
