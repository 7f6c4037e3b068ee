"""Queue on JetStream."""

from __future__ import annotations

import asyncio
import datetime
import math

from matrixinfer.bus.contracts.codec import encode
from matrixinfer.bus.contracts.dead import DeadLetter
from matrixinfer.bus.dead_letters import dead_letter_id
from matrixinfer.bus.errors import Malformed
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.jetstream.consumers import Consumers
from matrixinfer.bus.jetstream.longpull import LongPull
from matrixinfer.bus.jetstream.refusals import Refused
from matrixinfer.bus.ports.queue import Backlog, Consumer, DeliveryHandler, Stored
from matrixinfer.bus.subjects import Subjects
from matrixinfer.bus.topology import STREAMS

_NOT_THERE = frozenset({10037, 10043, 10057})


class JetStreamQueue:
    def __init__(self, connection: Connection, subjects: Subjects) -> None:
        self._connection = connection
        self._client = connection.client
        self._posts = connection.posts
        self._subjects = subjects
        self._consumers = Consumers(connection.api, connection.names)
        self._scheduling = {spec.name for spec in STREAMS if spec.schedules}

    async def post(
        self, subject: str, data: bytes, *, message_id: str, ttl_s: float | None = None
    ) -> asyncio.Future[Stored]:
        headers = f"Nats-Msg-Id: {message_id}\r\n" if message_id else ""
        if not message_id.isascii() or not message_id.isprintable():
            raise Malformed(f"message id {message_id!r}: expected printable ASCII")
        if ttl_s is not None:
            headers += f"Nats-TTL: {ttl_seconds(ttl_s)}\r\n"
        future = self._posts.send(subject, data, headers)
        if self._client.is_congested():
            await self._client.relieve()
        return future

    async def post_later(
        self, stream: str, subject: str, data: bytes, *, after_s: float, key: str
    ) -> asyncio.Future[Stored]:
        if stream not in self._scheduling:
            raise Malformed(f"{stream} cannot put a message on {subject!r} later: see the topology")
        at_s = self._connection.clock.now() + self._connection.server_clock.ahead_s + after_s
        at = datetime.datetime.fromtimestamp(at_s, datetime.UTC).isoformat(timespec="milliseconds")
        headers = f"Nats-Schedule: @at {at.replace('+00:00', 'Z')}\r\nNats-Schedule-Target: {subject}\r\n"
        return self._posts.send(self._subjects.later(stream, key), data, headers)

    async def consume(self, consumer: Consumer, handler: DeliveryHandler, *, credits: int) -> LongPull:
        pull = LongPull(self._connection, self._consumers, consumer, handler)
        await pull.start(credits)
        return pull

    async def bury(self, letter: DeadLetter) -> None:
        subject = self._subjects.dead(letter.stream)
        await (await self.post(subject, encode(letter), message_id=dead_letter_id(letter)))

    async def remove(self, stored: Stored) -> bool:
        stream = self._connection.names.stream(stored.stream)
        try:
            await self._connection.api.call(f"STREAM.MSG.DELETE.{stream}", {"seq": stored.sequence, "no_erase": True})
        except Refused as error:
            if error.code not in _NOT_THERE:
                raise
            return False
        return True

    async def backlog(self, consumer: Consumer) -> Backlog:
        return await self._consumers.backlog(consumer)


def ttl_seconds(ttl_s: float) -> int:
    """The server counts whole seconds, from 1."""
    return max(1, math.ceil(ttl_s))
