"""The HTTP door of the inference endpoints, in raw ASGI: this code runs for every request and every chunk.

Headers and first bytes are sent without giving the loop back in between, so they leave in one write; what comes in
while a write waits for the client leaves together in the next one.
"""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import Receive, Scope, Send

from matrixinfer.bus.clock import Clock
from matrixinfer.bus.contracts.envelope import Endpoint
from matrixinfer.bus.contracts.frames import Failure
from matrixinfer.bus.ids import new_request_id
from matrixinfer.gateway.doors.connection import SCOPE_KEY, Connection
from matrixinfer.gateway.doors.forms import error_body, error_event, failure_of, retry_after
from matrixinfer.gateway.errors import BodyTooLarge, ClientLeft, SlowClient
from matrixinfer.gateway.metrics import Metrics, ModelMetrics
from matrixinfer.gateway.pipeline import limits
from matrixinfer.gateway.pipeline.auth import tenant_of
from matrixinfer.gateway.pipeline.intake import Ask, Intake
from matrixinfer.gateway.relay.exchange import Exchange
from matrixinfer.gateway.relay.relay import Relay
from matrixinfer.gateway.settings import GatewaySettings

LINGER_S = 5.0
LINGER_BYTES = 64 * 1024 * 1024
"""How long and how much of a refused body is read and thrown away."""

UNHEARD = frozenset((ClientLeft.code, SlowClient.code))
"""Endings that nobody is told of: the client does not listen."""


class HttpDoor:
    """Answers one request a call. Request bodies and answers pass through byte for byte."""

    def __init__(self, settings: GatewaySettings, clock: Clock, intake: Intake, relay: Relay, metrics: Metrics) -> None:
        self._clock = clock
        self._intake = intake
        self._relay = relay
        self._metrics = metrics
        self._body_limit = settings.body_limit_bytes
        self._tenant_header = settings.tenant_header.encode() if settings.trust_tenant_header else b""

    async def answer(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        """From the request's head to the last byte of its answer."""
        started_at = self._clock.monotonic()
        rid = new_request_id()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            body = await self._read_body(headers, receive)
            tenant = tenant_of(headers, self._tenant_header)
            exchange = await self._intake.begin(Ask(rid, endpoint, tenant, headers, body))
        except Exception as error:  # noqa: BLE001 - logged there, and answered
            failure = failure_of(error)
            self._metrics.of(endpoint, "").ended(failure.status, self._clock.monotonic() - started_at, None)
            if isinstance(error, BodyTooLarge):
                await refuse_body(receive, send, rid, failure)
            elif not isinstance(error, ClientLeft):
                await send_failure(send, rid, failure)
            return
        await self._relay_answer(exchange, scope[SCOPE_KEY], send, started_at)

    async def _relay_answer(self, exchange: Exchange, connection: Connection, send: Send, started_at: float) -> None:
        envelope = exchange.envelope
        metrics = self._metrics.of(envelope.endpoint, envelope.model)
        exchange.on_dropped = connection.abort
        connection.on_lost = lambda: self._relay.fail(exchange, ClientLeft("the client left").failure())
        if connection.is_lost:
            connection.on_lost()
        try:
            if envelope.stream:
                await self._stream(exchange, send, metrics, started_at)
            else:
                await self._whole(exchange, send)
        finally:
            connection.on_lost = None
            self._relay.forget(exchange)
            status = 200 if exchange.failure is None else exchange.failure.status
            metrics.ended(status, self._clock.monotonic() - started_at, exchange.usage)

    async def _stream(self, exchange: Exchange, send: Send, metrics: ModelMetrics, started_at: float) -> None:
        data = await exchange.pull()
        ended, failure = exchange.ended, exchange.failure
        if not data and failure is not None:
            await refuse(send, exchange.rid, failure)
            return
        metrics.first_token(self._clock.monotonic() - started_at)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"text/event-stream; charset=utf-8"),
                    (b"cache-control", b"no-cache"),
                    (b"x-accel-buffering", b"no"),
                    (b"x-request-id", exchange.rid.encode()),
                ],
            }
        )
        while not ended:
            await send({"type": "http.response.body", "body": data, "more_body": True})
            data = await exchange.pull()
            ended, failure = exchange.ended, exchange.failure
        if failure is not None:
            data += error_event(failure)
        await send({"type": "http.response.body", "body": data})

    async def _whole(self, exchange: Exchange, send: Send) -> None:
        data = await exchange.pull_all()
        if exchange.failure is not None:
            await refuse(send, exchange.rid, exchange.failure)
            return
        await send_json(send, 200, data, [(b"x-request-id", exchange.rid.encode())])

    async def _read_body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Raises BodyTooLarge before reading more than the limit, ClientLeft."""
        told = headers.get(b"content-length", b"")
        if told.isdigit():
            limits.check_body(int(told), self._body_limit)
        message = await receive()
        parts: list[bytes] = [message.get("body", b"")]
        size = len(parts[0])
        while message.get("more_body", False):
            limits.check_body(size, self._body_limit)
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        if message["type"] == "http.disconnect":
            raise ClientLeft("the client left before its request was complete")
        limits.check_body(size, self._body_limit)
        return parts[0] if len(parts) == 1 else b"".join(parts)


async def refuse(send: Send, rid: str, failure: Failure) -> None:
    """Answer with an error, unless nobody listens."""
    if failure.code not in UNHEARD:
        await send_failure(send, rid, failure)


async def send_failure(send: Send, rid: str, failure: Failure, *more: tuple[bytes, bytes]) -> None:
    """Answer with an error, and with `more` headers."""
    headers = [(b"x-request-id", rid.encode()), *more]
    if (seconds := retry_after(failure)) is not None:
        headers.append((b"retry-after", seconds))
    await send_json(send, failure.status, error_body(failure), headers)


async def refuse_body(receive: Receive, send: Send, rid: str, failure: Failure) -> None:
    """Answer at once, then throw away what is still being sent, and close.

    Closing with unread bytes would reset the connection, and most clients would see that instead of the answer.
    """
    headers = [(b"x-request-id", rid.encode()), (b"connection", b"close")]
    await send_json(send, failure.status, error_body(failure), headers, more=True)
    unread = LINGER_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while unread > 0:
                message = await receive()
                unread -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    break
    await send({"type": "http.response.body", "body": b""})


async def send_json(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]], *, more: bool = False
) -> None:
    kind = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": kind + headers})
    await send({"type": "http.response.body", "body": body, "more_body": more})
