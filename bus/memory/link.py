"""One connection to the broker, which tests can cut; and the Link port on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from matrixinfer.bus.clock import Clock
from matrixinfer.bus.errors import Unavailable

logger = logging.getLogger("matrixinfer.bus.memory.link")


class MemoryLink:
    """What is sent while the connection is down waits here and leaves when it is restored, as nats-py does it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._up_since: float | None = clock.monotonic()
        self._closed = False
        self._outbox: list[Callable[[], None]] = []
        self._restored: list[Callable[[], Awaitable[None]]] = []
        self._restoring: asyncio.Task[None] | None = None
        self.on_up: list[Callable[[], None]] = []
        """Called at once after a restore, before the handlers of `on_restored`: the adapters' own reconnecting."""
        self.on_close: list[Callable[[], None]] = []

    def is_up(self) -> bool:
        return self._up_since is not None

    def up_since(self) -> float | None:
        return self._up_since

    def on_restored(self, handler: Callable[[], Awaitable[None]]) -> None:
        self._restored.append(handler)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._up_since = None
        for leave in list(self.on_close):
            leave()

    def send(self, action: Callable[[], None]) -> None:
        """Do it now, or when the connection is back. Raises Unavailable when it was closed for good."""
        if self._closed:
            raise Unavailable("this connection was closed")
        if self.is_up():
            action()
        else:
            self._outbox.append(action)

    def require(self) -> None:
        """For what needs an answer: raises Unavailable while the connection is down."""
        if not self.is_up():
            raise Unavailable("the connection to the broker is down")

    def drop(self) -> None:
        self._up_since = None

    def restore(self) -> None:
        if self._closed or self.is_up():
            return
        self._up_since = self._clock.monotonic()
        for reconnect in list(self.on_up):
            reconnect()
        outbox, self._outbox = self._outbox, []
        for action in outbox:
            action()
        self._restoring = asyncio.create_task(self._tell_restored())

    async def _tell_restored(self) -> None:
        for handler in list(self._restored):
            try:
                await handler()
            except Exception:
                logger.exception("a handler of the restored link failed")
