"""Bodies that are not in their envelope: read from the bus while their work already holds its slot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from matrixinfer.bus.background import spawn
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.contracts.frames import Failure
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.bus.errors import BusError, Unavailable
from matrixinfer.bus.ports import Blobs

log = logging.getLogger("matrixinfer.agents.bodies")

FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 1.0
MISSING_FOR_S = 1.0
"""Bodies are stored before their envelope, so one that is missing is lost, except for a copy of the stream that lags
behind its leader by some milliseconds."""
UNREADABLE_FOR_S = 30.0
"""Longer than a server's restart or an election takes."""

BODY_LOST = Failure(502, "the request's body was lost on the bus; send the request again", code="body_lost")
BODY_UNREADABLE = Failure(
    503, "the request's body could not be read from the bus; try again", code="body_unreadable", retry_after_s=1.0
)
BODY_DENIED = Failure(500, "this agent may not read the request's body: its bus permissions are wrong")

OnBody = Callable[["bytes | Failure"], None]


class Bodies:
    """One task for each body that is being read."""

    def __init__(self, blobs: Blobs, clock: Clock) -> None:
        self._blobs = blobs
        self._clock = clock
        self._tasks: dict[WorkKey, asyncio.Task[None]] = {}

    def fetch(self, key: WorkKey, reference: str, size_bytes: int, on_body: OnBody) -> None:
        """Call `on_body`, once and not before this returned, with the body or with what to tell the client. The
        caller minds the deadline: it calls `stop`."""
        self._tasks[key] = spawn(self._fetch(key, reference, size_bytes, on_body), f"body of {key.rid}")

    def stop(self, key: WorkKey) -> bool:
        """Its body is not wanted any more; False when it was not being read."""
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()
        return task is not None

    async def _fetch(self, key: WorkKey, reference: str, size_bytes: int, on_body: OnBody) -> None:
        body = await self._read(reference, size_bytes)
        if self._tasks.pop(key, None) is not None:  # a cancellation may come too late to be seen
            on_body(body)

    async def _read(self, reference: str, size_bytes: int) -> bytes | Failure:
        """Tries again for as long as it is worth it: longer while the server is away than while it says no."""
        began_at = self._clock.monotonic()
        missing_at: float | None = None
        pause_s = FIRST_PAUSE_S
        while True:
            now = self._clock.monotonic()
            try:
                body = await self._blobs.get(reference)
            except Unavailable as error:
                missing_at = None
                if now - began_at >= UNREADABLE_FOR_S:
                    log.warning("body %s cannot be read: %s", reference, error)
                    return BODY_UNREADABLE
            except BusError as error:
                log.error("body %s may not be read: %s", reference, error)
                return BODY_DENIED
            else:
                if body is not None and len(body) == size_bytes:
                    return body
                missing_at = now if missing_at is None else missing_at
                if now - missing_at >= MISSING_FOR_S:
                    return self._lost(reference, size_bytes, body)
            await self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _lost(self, reference: str, size_bytes: int, body: bytes | None) -> Failure:
        met = "nothing" if body is None else f"{len(body)} bytes"
        log.error("body %s is lost: expected %d bytes, met %s", reference, size_bytes, met)
        return BODY_LOST
