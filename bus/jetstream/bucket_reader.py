"""Reading all that a bucket holds under a prefix, and what comes after: an ephemeral push consumer.

Any doubt (a hole in the sequence, missed heartbeats, a reconnect) is a reason to read the bucket anew; `on_doubt`
is called once.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable

from matrixinfer.bus.errors import BusError, Unavailable
from matrixinfer.bus.jetstream.api import SECOND_NS
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.jetstream.delivery import ACK_PREFIX
from matrixinfer.bus.ports.store import Change, Entry

logger = logging.getLogger("matrixinfer.bus.jetstream.bucket_reader")

HEARTBEAT_S = 5.0
_STALLED = re.compile(rb"Nats-Consumer-Stalled: ([^\r]+)")


class BucketReader:
    def __init__(
        self, connection: Connection, stream: str, subject: str, prefix: str, on_change: Callable[[Change], None]
    ) -> None:
        self._connection = connection
        self._client = connection.client
        self._stream = stream
        self._skip = len(subject.removesuffix(">"))
        base = subject.removesuffix(">")
        self._filters = [f"{base}{prefix}", f"{base}{prefix}.>"] if prefix else [subject]
        self._on_change = on_change
        self._name = "r" + self._client.new_inbox().rsplit(".", 1)[-1]
        self._count = 0
        self._snapshot: dict[str, Entry] | None = {}
        self._complete: asyncio.Future[dict[str, Entry]] = asyncio.get_running_loop().create_future()
        self._sid = 0
        self.heard_at = 0.0
        self.doubtful = False

    async def read(self) -> dict[str, Entry]:
        """The bucket as it is; changes after it go to `on_change`. Raises Unavailable, Denied."""
        inbox = self._client.new_inbox()
        self._sid = self._client.listen(inbox, self._heard)
        config = {
            "name": self._name,
            "deliver_subject": inbox,
            "deliver_policy": "last_per_subject",
            "ack_policy": "none",
            "filter_subjects": self._filters,
            "max_deliver": 1,
            "mem_storage": True,
            "num_replicas": 1,
            "flow_control": True,
            "idle_heartbeat": int(HEARTBEAT_S * SECOND_NS),
            "inactive_threshold": int(6 * HEARTBEAT_S * SECOND_NS),
        }
        body = {"stream_name": self._stream, "config": config, "action": "create"}
        info = await self._connection.api.call(f"CONSUMER.CREATE.{self._stream}.{self._name}", body)
        self.heard_at = self._connection.clock.monotonic()
        if not int(info.get("num_pending", 0)) and not self._count:
            self._finish()
        try:
            async with asyncio.timeout(self._connection.settings.request_timeout_s):
                return await self._complete
        except TimeoutError as error:
            raise Unavailable(f"reading {self._stream} took too long") from error

    async def close(self) -> None:
        self._client.unlisten(self._sid)
        if self._connection.is_up():
            try:
                await self._connection.api.call(f"CONSUMER.DELETE.{self._stream}.{self._name}")
            except BusError as error:
                logger.debug("the reader %s of %s goes by itself: %s", self._name, self._stream, error)

    def _heard(self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self.heard_at = self._connection.clock.monotonic()
        if not reply.startswith(ACK_PREFIX):
            self._control(reply, headers or b"")
            return
        tokens = reply.split(b".")
        first = 4 if len(tokens) == 9 else 6
        self._count += 1
        if int(tokens[first + 2]) != self._count:
            self.doubtful = True
            return
        change = _change(subject[self._skip :].decode(), int(tokens[first + 1]), data, headers)
        if self._snapshot is None:
            self._on_change(change)
            return
        if change.entry is not None:
            self._snapshot[change.key] = change.entry
        if tokens[first + 4] == b"0":
            self._finish()

    def _finish(self) -> None:
        snapshot, self._snapshot = self._snapshot, None
        if not self._complete.done() and snapshot is not None:
            self._complete.set_result(snapshot)

    def _control(self, reply: bytes, headers: bytes) -> None:
        """Flow control wants an answer; a heartbeat may say that one was lost."""
        stalled = _STALLED.search(headers)
        if reply or stalled:
            self._client.write(b"PUB %b 0\r\n\r\n" % (reply or (stalled[1] if stalled else b"")))
        elif not headers.startswith(b"NATS/1.0 100"):
            self.doubtful = True


def _change(key: str, revision: int, data: bytes, headers: bytes | None) -> Change:
    gone = headers is not None and (b"\r\nKV-Operation: " in headers or b"\r\nNats-Marker-Reason: " in headers)
    return Change(key, None) if gone else Change(key, Entry(key, data, revision))
