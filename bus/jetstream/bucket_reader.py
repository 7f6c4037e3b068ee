"""Reading all that a bucket holds under a prefix, and what comes after: an ephemeral push consumer.

Any doubt (a hole in the sequence, missed heartbeats, a reconnect) is a reason to read the bucket anew with another
reader: `doubtful` tells it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable

from matrixinfer.bus.errors import BusError, Unavailable
from matrixinfer.bus.jetstream.api import SECOND_NS, Json
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.jetstream.delivery import ACK_PREFIX, SHORT_REPLY_TOKENS
from matrixinfer.bus.ports.store import Change, Entry

logger = logging.getLogger("matrixinfer.bus.jetstream.bucket_reader")

HEARTBEAT_S = 5.0

_STALLED = re.compile(rb"Nats-Consumer-Stalled: ([^\r]+)")

OnSnapshot = Callable[[dict[str, Entry]], None]
OnChange = Callable[[Change], None]


class BucketReader:
    """`on_snapshot` is called once, before any `on_change` and in the same breath: there is no gap between them."""

    def __init__(
        self, connection: Connection, stream: str, filters: list[str], *, on_snapshot: OnSnapshot, on_change: OnChange
    ) -> None:
        self._connection = connection
        self._client = connection.client
        self._stream = stream
        self._filters = filters
        self._on_snapshot = on_snapshot
        self._on_change = on_change
        self._name = "r" + self._client.new_inbox().rsplit(".", 1)[-1]
        self._count = 0
        self._snapshot: dict[str, Entry] | None = {}
        self._complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sid = 0
        self.heard_at = 0.0
        self.reached = 0
        """The bucket's revision of which the snapshot tells, at least."""
        self.doubtful = False

    async def read(self) -> None:
        """Returns when `on_snapshot` was called. Raises Unavailable, Denied."""
        inbox = self._client.new_inbox()
        self._sid = self._client.listen(inbox, self._heard)
        body = {"stream_name": self._stream, "config": self._config(inbox), "action": "create"}
        try:
            info = await self._connection.api.call(f"CONSUMER.CREATE.{self._stream}.{self._name}", body)
            self.heard_at = self._connection.clock.monotonic()
            if not int(info.get("num_pending", 0)) and not self._count:
                self._finish()
            async with asyncio.timeout(self._connection.settings.request_timeout_s):
                await self._complete
        except TimeoutError as error:
            await self.close()
            raise Unavailable(f"reading {self._stream} took too long") from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if not self._sid:
            return
        self._client.unlisten(self._sid)
        self._sid = 0
        if self._connection.is_up():
            try:
                await self._connection.api.call(f"CONSUMER.DELETE.{self._stream}.{self._name}")
            except BusError as error:
                logger.debug("the reader %s of %s goes by itself: %s", self._name, self._stream, error)

    def is_silent(self) -> bool:
        """Not even heartbeats come."""
        return self._connection.clock.monotonic() - self.heard_at > 2.5 * HEARTBEAT_S

    def _config(self, inbox: str) -> Json:
        return {
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

    def _heard(self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self.heard_at = self._connection.clock.monotonic()
        if not reply.startswith(ACK_PREFIX):
            self._control(reply, headers or b"")
            return
        tokens = reply.split(b".")
        sequence, count, _, waiting = tokens[5:9] if len(tokens) == SHORT_REPLY_TOKENS else tokens[7:11]
        self._count += 1
        if int(count) != self._count:
            self._doubt()
            return
        key = subject.decode().split(".", 2)[2]  # $KV, the bucket, the key
        change = _change(key, int(sequence), data, headers)
        if self._snapshot is None:
            self._on_change(change)
            return
        self.reached = change.revision
        if change.entry is not None:
            self._snapshot[change.key] = change.entry
        else:  # it may have been there when the reading began
            self._snapshot.pop(change.key, None)
        if waiting == b"0":
            self._finish()

    def _finish(self) -> None:
        snapshot, self._snapshot = self._snapshot, None
        if snapshot is not None and not self._complete.done():
            self._on_snapshot(snapshot)
            self._complete.set_result(None)

    def _doubt(self) -> None:
        self.doubtful = True
        if not self._complete.done():
            self._complete.set_exception(Unavailable(f"reading {self._stream}: the server skipped a message"))

    def _control(self, reply: bytes, headers: bytes) -> None:
        """Flow control wants an answer; a heartbeat may say that one was lost."""
        stalled = _STALLED.search(headers)
        if reply or stalled:
            self._client.write(b"PUB %b 0\r\n\r\n" % (reply or (stalled[1] if stalled else b"")))
        elif not headers.startswith(b"NATS/1.0 100"):
            self._doubt()


def _change(key: str, revision: int, data: bytes, headers: bytes | None) -> Change:
    gone = headers is not None and (b"\r\nKV-Operation: " in headers or b"\r\nNats-Marker-Reason: " in headers)
    return Change(key, None, revision) if gone else Change.to(Entry(key, data, revision))
