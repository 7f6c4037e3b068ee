"""Signals: publish, subscribe, request. At most once, nothing is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol


class Signal(Protocol):
    """A message as it came."""

    subject: str
    data: bytes

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """As a client of its own set them, the names in lower case, of equal ones the last; nobody in here sets any."""
        ...

    async def respond(self, data: bytes) -> None:
        """Answer the request; does nothing when the signal asked for no answer."""
        ...


class Subscription(Protocol):
    async def close(self) -> None:
        """No handler starts after this returns. Safe to call twice."""
        ...


SignalHandler = Callable[[Signal], Awaitable[None]]


class Signals(Protocol):
    """Core NATS. Subscriptions are made again by themselves after a reconnect."""

    async def publish(self, subject: str, data: bytes) -> None:
        """Send; returns once the bytes are buffered. Raises TooLarge; raises Unavailable when the buffer of a
        broken connection is full. What is buffered in one loop turn leaves in one write."""
        ...

    async def subscribe(self, subject: str, handler: SignalHandler, *, group: str = "") -> Subscription:
        """Hand every message that matches (`*` and `>` are wildcards) to `handler`. Of a `group`, one member gets
        each message. Returns when the server knows of the subscription."""
        ...

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """Ask and wait for the first answer. Raises NobodyThere at once when nobody subscribes, TimedOut after
        `timeout_s`, Unavailable when the connection is down."""
        ...
