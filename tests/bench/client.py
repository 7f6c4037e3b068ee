"""A lean closed-loop HTTP load client on uvloop: so many connections, each with one request in flight."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast

import httptools


@dataclass
class Tally:
    """What one run saw. Times in seconds; `events` counts server-sent events with a payload."""

    latencies: list[float] = field(default_factory=list)
    ttfts: list[float] = field(default_factory=list)
    events: int = 0
    errors: int = 0
    seconds: float = 0.0

    @property
    def requests(self) -> int:
        return len(self.latencies)

    @property
    def requests_per_s(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def events_per_s(self) -> float:
        return self.events / self.seconds if self.seconds else 0.0


def percentile(values: list[float], share: float) -> float:
    """The value at `share` (0..1) of the sorted values; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Connection(asyncio.Protocol):
    """Sends the same request again and again until the deadline, one at a time, and notes the times."""

    def __init__(self, request: bytes, tally: Tally, quota: list[int], deadline: float) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request, self._tally, self._quota, self._deadline = request, tally, quota, deadline
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._sent_at = self._first_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        self._send()

    def data_received(self, data: bytes) -> None:
        self._tally.events += data.count(b"data: {")
        self._parser.feed_data(data)

    def on_body(self, _body: bytes) -> None:
        if not self._first_at:
            self._first_at = time.perf_counter()

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        self._tally.latencies.append(now - self._sent_at)
        self._tally.ttfts.append(self._first_at - self._sent_at)
        if self._parser.get_status_code() != 200:
            self._tally.errors += 1
        self._parser = httptools.HttpResponseParser(self)
        asyncio.get_running_loop().call_soon(self._send)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._tally.errors += 1
            self.done.set_result(None)

    def _send(self) -> None:
        if self._quota[0] <= 0 or time.perf_counter() > self._deadline or self._transport is None:
            if not self.done.done():
                self.done.set_result(None)
            return
        self._quota[0] -= 1
        self._first_at = 0.0
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)


def post(path: str, body: bytes) -> bytes:
    """The bytes of one HTTP request."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def load(
    port: int, request: bytes, *, connections: int, seconds: float = 600.0, requests: int = 1_000_000_000
) -> Tally:
    """Run until `seconds` passed or `requests` were sent, whichever comes first."""
    tally = Tally()
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    quota = [requests]
    made = [
        await loop.create_connection(lambda: Connection(request, tally, quota, started + seconds), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in made))
    tally.seconds = time.perf_counter() - started
    for transport, _ in made:
        transport.close()
    return tally
