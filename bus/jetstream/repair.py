"""Making a stream or bucket again that somebody deleted under a living connection: at a miss, once, and not often.

Whoever meets a miss (a post that no stream takes, a refusal because the stream is not there) says so and goes on; it
fails as before, and its own trying again finds the stream made anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from matrixinfer.bus.background import spawn
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.errors import BusError

logger = logging.getLogger("matrixinfer.bus.jetstream.repair")

PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0


class Repair:
    """At most one repair at a time, with pauses between them that double as long as misses go on; after a miss-free
    time of three pauses they are short again. Idle it costs nothing."""

    def __init__(self, clock: Clock, work: Callable[[], Awaitable[None]]) -> None:
        self._clock = clock
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._pause_s = PAUSE_S
        self._ended_at = -LONGEST_PAUSE_S * 4
        self._ready = False

    def arm(self) -> None:
        """Until the topology was declared once, a missing stream is no miss."""
        self._ready = True

    def miss(self, what: str) -> None:
        """Something of the topology is not there. Never raises, never waits; most calls do nothing."""
        quiet_s = self._clock.monotonic() - self._ended_at
        if not self._ready or self._task is not None or quiet_s < self._pause_s:
            return
        self._pause_s = PAUSE_S if quiet_s > 3 * self._pause_s else min(2 * self._pause_s, LONGEST_PAUSE_S)
        logger.warning("%s: declaring the topology again", what)
        self._task = spawn(self._run(), "repair the topology")

    def stop(self) -> None:
        self._ready = False
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            await self._work()
        except BusError as error:
            logger.warning("the topology could not be repaired yet: %s", error)
        finally:
            self._task = None
            self._ended_at = self._clock.monotonic()
