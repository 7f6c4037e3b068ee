"""How the connection is: whoever judges somebody's absence must first know that it could have heard them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol


class Link(Protocol):
    """The state of this process's connection to the bus."""

    def is_up(self) -> bool:
        """Connected now, as far as the client knows."""
        ...

    def up_since(self) -> float | None:
        """Monotonic time since when the connection is unbroken; None while it is down."""
        ...

    def on_restored(self, handler: Callable[[], Awaitable[None]]) -> None:
        """Call `handler` when streams and consumers of the topology are there again: after every reconnect, and after
        one that had been deleted was missed here."""
        ...

    async def close(self) -> None:
        """Send what is buffered and leave. Safe to call twice."""
        ...
