"""Time as an argument: a port with a real clock and one that tests move by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol


class Clock(Protocol):
    """Where every shell takes its time from."""

    def now(self) -> float:
        """Wall-clock time in unix seconds; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; for intervals only."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; at once when that is not positive, but always after one loop turn."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class ManualClock:
    """A clock that stands still until `advance` is called; sleepers wake in the order of their times."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._time = start
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._time

    def monotonic(self) -> float:
        return self._time

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._time + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move time forward, waking each sleeper at its own time and letting it run until it waits again."""
        target = self._time + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            self._time, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
            await self._settle()
        self._time = target
        await self._settle()

    async def _settle(self) -> None:
        for _ in range(20):  # chains of callbacks: a wake-up may post work that posts work
            await asyncio.sleep(0)
