"""What waits for one handler: taken in the order of arrival, one at a time, on the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

logger = logging.getLogger("matrixinfer.bus.inbox")

T = TypeVar("T")


class Inbox(Generic[T]):
    """A task runs only while something waits, so an idle inbox needs no closing. A handler that fails is logged.

    `limit` bounds what may wait (0: the sender is bounded already): beyond it the newest are dropped, and said so.
    """

    def __init__(self, handler: Callable[[T], Awaitable[None]], name: str, *, limit: int = 0) -> None:
        self._handler = handler
        self._name = name
        self._limit = limit
        self._items: deque[T] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._dropped = 0

    def put(self, item: T) -> None:
        if self._closed:
            return
        if self._limit and len(self._items) >= self._limit:
            self._drop()
            return
        self._items.append(item)
        if self._task is None:
            self._task = asyncio.create_task(self._drain(), name=f"inbox {self._name}")

    def close(self) -> list[T]:
        """No handler starts any more; one that runs ends by itself. Returns what was still waiting."""
        self._closed = True
        left = list(self._items)
        self._items.clear()
        return left

    async def _drain(self) -> None:
        try:
            while self._items:
                item = self._items.popleft()
                try:
                    await self._handler(item)
                except Exception:
                    logger.exception("the handler of %s failed", self._name)
        finally:
            self._task = None
            if self._dropped:
                logger.error("%s was too slow: %d messages were dropped in all", self._name, self._dropped)
                self._dropped = 0

    def _drop(self) -> None:
        if not self._dropped:
            logger.error("%s is too slow: %d messages wait, dropping", self._name, self._limit)
        self._dropped += 1
