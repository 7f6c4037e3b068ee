"""Callbacks at a time of the clock, all served by one sleeping task."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable

from matrixinfer.bus.clock import Clock

logger = logging.getLogger("matrixinfer.bus.memory.timers")


class Timers:
    """There is no cancelling: a callback looks whether there is still something to do."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._task: asyncio.Task[None] | None = None
        self._sleeping_until: float | None = None

    def at(self, when: float, callback: Callable[[], None]) -> None:
        """Call `callback` at monotonic time `when`, or soon when that has passed."""
        heapq.heappush(self._heap, (when, next(self._order), callback))
        if self._task is not None and not self._task.done():
            if self._sleeping_until is None or self._sleeping_until <= when:
                return
            self._task.cancel()
        self._sleeping_until = None
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while self._heap:
            when = self._heap[0][0]
            delay_s = when - self._clock.monotonic()
            if delay_s > 0:
                self._sleeping_until = when
                await self._clock.sleep(delay_s)
                self._sleeping_until = None
                continue
            _, _, callback = heapq.heappop(self._heap)
            try:
                callback()
            except Exception:
                logger.exception("a timer's callback failed")
