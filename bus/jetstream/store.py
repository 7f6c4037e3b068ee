"""Store on a JetStream bucket: the layout of NATS KV, so that its tools can read it, with times to live and
compare-and-set on every write."""

from __future__ import annotations

import base64

from matrixinfer.bus.errors import Conflict, Malformed, TooLarge
from matrixinfer.bus.jetstream.api import Json
from matrixinfer.bus.jetstream.bucket_reader import BucketReader, OnChange, OnSnapshot
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.jetstream.declare import MARKER_TTL_S
from matrixinfer.bus.jetstream.queue import ttl_seconds
from matrixinfer.bus.jetstream.refusals import NO_MESSAGE_FOUND, Refused
from matrixinfer.bus.jetstream.watch import JetStreamWatch
from matrixinfer.bus.ports.store import Entry
from matrixinfer.bus.topology import Bucket

_CREATE_ATTEMPTS = 5


class JetStreamStore:
    def __init__(self, connection: Connection, spec: Bucket) -> None:
        self._connection = connection
        self._spec = spec
        self._stream = connection.names.bucket_stream(spec.name)

    async def get(self, key: str) -> Entry | None:
        revision, value = await self._last(key)
        return Entry(key, value, revision) if value is not None else None

    async def put(self, key: str, value: bytes, *, revision: int | None = None, ttl_s: float | None = None) -> int:
        if len(value) > self._spec.max_value_bytes:
            raise TooLarge(f"{len(value)} bytes for {key!r}: {self._spec.name} takes {self._spec.max_value_bytes}")
        headers = f"Nats-TTL: {ttl_seconds(ttl_s)}\r\n" if ttl_s is not None else ""
        if revision == 0:
            return await self._create(key, value, headers)
        return await self._write(key, value, headers, revision)

    async def delete(self, key: str, *, revision: int | None = None) -> int:
        """The deletion is a marker, which goes by itself later. Without `revision` the marker too is written only
        over what was there."""
        headers = f"KV-Operation: DEL\r\nNats-TTL: {MARKER_TTL_S}\r\n"
        if revision is None and await self.get(key) is None:
            return 0
        return await self._write(key, b"", headers, revision)

    async def entries(self, prefix: str = "") -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        reader = self._reader(prefix, found.update, lambda _: None)
        await reader.read()
        await reader.close()
        return found

    async def watch(self, prefix: str = "") -> JetStreamWatch:
        watch = JetStreamWatch(self._connection, lambda *handlers: self._reader(prefix, *handlers))
        await watch.start()
        return watch

    async def _create(self, key: str, value: bytes, headers: str) -> int:
        """A key that was deleted or ran out may have left a marker: then that is what must be replaced."""
        expected = 0
        for _ in range(_CREATE_ATTEMPTS):
            try:
                return await self._write(key, value, headers, expected)
            except Conflict:
                expected, current = await self._last(key)
                if current is not None:
                    raise
        raise Conflict(f"{self._spec.name} {key!r}: others write it faster than it can be created")

    async def _write(self, key: str, value: bytes, headers: str, revision: int | None) -> int:
        _check(key)
        self._connection.require_up()
        if revision is not None:
            headers += f"Nats-Expected-Last-Subject-Sequence: {revision}\r\n"
        subject = self._connection.names.bucket_subject(self._spec.name, key)
        return (await self._connection.posts.send(subject, value, headers)).sequence

    async def _last(self, key: str) -> tuple[int, bytes | None]:
        """Revision and value; no value for a marker, revision 0 when there is nothing at all."""
        _check(key)
        question: Json = {"last_by_subj": self._connection.names.bucket_subject(self._spec.name, key)}
        try:
            message = (await self._connection.api.call(f"STREAM.MSG.GET.{self._stream}", question))["message"]
        except Refused as error:
            if error.code != NO_MESSAGE_FOUND:
                raise
            return 0, None
        headers = base64.b64decode(message.get("hdrs") or b"")
        gone = b"\r\nKV-Operation: " in headers or b"\r\nNats-Marker-Reason: " in headers
        return int(message["seq"]), None if gone else base64.b64decode(message.get("data") or b"")

    def _reader(self, prefix: str, on_snapshot: OnSnapshot, on_change: OnChange) -> BucketReader:
        """`prefix` is whole tokens: the key itself and all below it."""
        below = [prefix, f"{prefix}.>"] if prefix else [">"]
        filters = [self._connection.names.bucket_subject(self._spec.name, key) for key in below]
        return BucketReader(self._connection, self._stream, filters, on_snapshot=on_snapshot, on_change=on_change)


def _check(key: str) -> None:
    if not key or not key.isprintable() or any(c in key for c in " *>") or "" in key.split("."):
        raise Malformed(f"{key!r} cannot be a key: expected tokens joined by dots (subjects.key)")
