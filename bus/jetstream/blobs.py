"""Blobs on JetStream: one message for each, posted like any other, read by direct get.

A direct get answers with the message itself, as it was stored; STREAM.MSG.GET would wrap it into JSON as base64, which
for the largest bodies is more than the server carries in one message.
"""

from __future__ import annotations

import asyncio
import logging

from matrixinfer.bus.errors import NobodyThere, TimedOut, Unavailable
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.jetstream.queue import JetStreamQueue
from matrixinfer.bus.ports.queue import Stored
from matrixinfer.bus.subjects import Subjects
from matrixinfer.bus.topology import BODIES

logger = logging.getLogger("matrixinfer.bus.jetstream.blobs")

_NOT_FOUND = b"NATS/1.0 404"
_STORED = b"NATS/1.0\r\n"
"""A status line without a status begins the headers of a message; all else is the server's refusal."""


class JetStreamBlobs:
    def __init__(self, connection: Connection, subjects: Subjects, queue: JetStreamQueue) -> None:
        self._connection = connection
        self._subjects = subjects
        self._queue = queue
        stream = connection.names.stream(BODIES)
        self._question = f"$JS.API.DIRECT.GET.{stream}."
        self._purge = f"PUB $JS.API.STREAM.PURGE.{stream} ".encode()

    async def put(self, reference: str, data: bytes, *, ttl_s: float) -> asyncio.Future[Stored]:
        self._subjects.parse_body(reference)
        return await self._queue.post(reference, data, message_id=reference, ttl_s=ttl_s)

    async def get(self, reference: str) -> bytes | None:
        self._subjects.parse_body(reference)
        timeout_s = self._connection.settings.request_timeout_s
        try:
            answer = await self._connection.answers.ask_whole(self._question + reference, b"", timeout_s=timeout_s)
        except NobodyThere as error:
            missing = f"{reference}: no stream {BODIES} answers (not there, or still starting)"
            self._connection.repair.miss(missing)
            raise Unavailable(missing) from error
        except TimedOut as error:
            raise Unavailable(str(error)) from error
        data, headers = answer
        if headers is None or headers.startswith(_STORED):
            return data
        if headers.startswith(_NOT_FOUND):
            return None
        raise Unavailable(f"{reference}: the NATS server answered {headers.splitlines()[0]!r}")

    def remove(self, reference: str) -> None:
        """Without a reply subject: the answer would cost twice what the question does, and nobody would read it."""
        self._subjects.parse_body(reference)
        order = b'{"filter":"%s"}' % reference.encode("ascii")
        try:
            self._connection.client.write(self._purge, b"%d\r\n" % len(order), order, b"\r\n")
        except Unavailable as error:
            logger.info("a blob is left to its time to live: %s", error)
