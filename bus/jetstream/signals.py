"""Signals on core NATS."""

from __future__ import annotations

from collections.abc import Mapping

from matrixinfer.bus.errors import Denied, Malformed
from matrixinfer.bus.inbox import Inbox
from matrixinfer.bus.jetstream.client import Client
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.ports.signals import Signal, SignalHandler

WAITING_LIMIT = 65_536
"""Messages that may wait for one subscription's handler; beyond it they are dropped rather than the connection."""


class NatsSignal:
    __slots__ = ("_client", "_headers", "_reply", "data", "subject")

    def __init__(self, subject: str, data: bytes, reply: bytes, headers: bytes | None, client: Client) -> None:
        self.subject = subject
        self.data = data
        self._reply = reply
        self._headers = headers
        self._client = client

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        if self._headers is None:
            return {}
        lines = [
            line.partition(b":") for line in self._headers.split(b"\r\n")[1:]
        ]  # the first is the protocol's version
        return {name.strip().lower(): value.strip() for name, colon, value in lines if colon}

    async def respond(self, data: bytes) -> None:
        if self._reply:
            self._client.check_size("an answer", len(data))
            self._client.write(b"PUB %b %d\r\n" % (self._reply, len(data)), data, b"\r\n")


class NatsSubscription:
    def __init__(self, client: Client, subject: str, handler: SignalHandler, group: str) -> None:
        self._client = client
        self._inbox: Inbox[Signal] = Inbox(handler, f"subscription {subject}", limit=WAITING_LIMIT)
        self._sid = client.listen(subject, self._heard, queue=group)

    async def close(self) -> None:
        self._client.unlisten(self._sid)
        self._inbox.close()

    def _heard(self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self._inbox.put(NatsSignal(subject.decode(), data, reply, headers, self._client))


class NatsSignals:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client = connection.client

    async def publish(self, subject: str, data: bytes) -> None:
        client = self._client
        _check_subject(subject)
        client.check_size(subject, len(data))
        client.write(f"PUB {subject} {len(data)}\r\n".encode(), data, b"\r\n")
        if client.is_congested():
            await client.relieve()

    async def subscribe(self, subject: str, handler: SignalHandler, *, group: str = "") -> NatsSubscription:
        _check_subject(subject)
        denied: list[str] = []
        note = denied.append
        self._client.on_denied.append(note)
        subscription = NatsSubscription(self._client, subject, handler, group)
        try:
            await self._connection.flush()  # the server's refusal would come before its answer
        except BaseException:
            await subscription.close()
            raise
        finally:
            self._client.on_denied.remove(note)
        if any(f'subscription to "{subject.lower()}"' in text for text in denied):
            await subscription.close()
            raise Denied(f"this user may not subscribe to {subject!r}")
        return subscription

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        _check_subject(subject)
        return await self._connection.answers.ask(subject, data, timeout_s=timeout_s)


def _check_subject(subject: str) -> None:
    if not subject or not subject.isprintable() or " " in subject:
        raise Malformed(f"{subject!r} cannot be a subject")
