"""One HTTP request to a server on a Unix socket, and its answer handed on as it comes: no task wakes for a token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools


class BrokenAnswer(Exception):
    """The connection ended, or what came is not HTTP, before the answer was complete."""


class Exchange(asyncio.Protocol):
    """`on_body` is called on the loop with the body's bytes, `status` is known by then."""

    def __init__(self, request: bytes, on_body: Callable[[int, bytes], None]) -> None:
        self.status = 0
        self._request = request
        self._on_body = on_body
        self._parser = httptools.HttpResponseParser(self)
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def complete(self) -> int:
        """Wait for the end of the answer; its status. Raises BrokenAnswer."""
        await self._done
        return self.status

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.WriteTransport, transport).write(self._request)  # uvloop's is one without being a subclass

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(BrokenAnswer(f"not an HTTP answer: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(BrokenAnswer(f"the connection ended before the answer: {exc or 'closed by the engine'}"))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._on_body(self.status, body)

    def on_message_complete(self) -> None:
        self._end(None)

    def _end(self, error: BrokenAnswer | None) -> None:
        if self._done.done():
            return
        if error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(error)


async def post(socket_path: str, path: str, body: bytes, on_body: Callable[[int, bytes], None]) -> int:
    """Send `body` as JSON and hand the answer's body on; the status. Cancelling closes the connection at once.

    Raises BrokenAnswer, and OSError when nobody listens.
    """
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    exchange = Exchange(head.encode() + body, on_body)
    transport, _ = await asyncio.get_running_loop().create_unix_connection(lambda: exchange, socket_path)
    try:
        return await exchange.complete()
    finally:
        transport.abort()
