"""What waits for one handler: taken in the order of arrival, one at a time, on the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

logger = logging.getLogger("matrixinfer.bus.memory.inbox")

T = TypeVar("T")


class Inbox(Generic[T]):
    """A task runs only while something waits, so an idle inbox needs no closing."""

    def __init__(self, handler: Callable[[T], Awaitable[None]], name: str) -> None:
        self._handler = handler
        self._name = name
        self._items: deque[T] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def put(self, item: T) -> None:
        if self._closed:
            return
        self._items.append(item)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain(), name=f"inbox {self._name}")

    def close(self) -> list[T]:
        """No handler starts any more; one that runs ends by itself. Returns what was still waiting."""
        self._closed = True
        left = list(self._items)
        self._items.clear()
        return left

    async def _drain(self) -> None:
        while self._items:
            item = self._items.popleft()
            try:
                await self._handler(item)
            except Exception:
                logger.exception("the handler of %s failed", self._name)
