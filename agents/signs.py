"""Two files by which the engine in a container beside the agent knows how long it is still needed.

All containers of a Pod are asked to stop at once. The engine's waits until the agent has finished what ran; but when it
is the engine alone that shall start again, nobody is `stopping`, and it waits for nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

STOPPING = "stopping"
FINISHED = "finished"


class Signs:
    """In no folder (None) there are none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def remove(self) -> None:
        """Those of a former life of this container."""
        for name in (STOPPING, FINISHED):
            if self._folder is not None:
                (self._folder / name).unlink(missing_ok=True)

    async def tell_of(self, stop: asyncio.Event) -> None:
        """Once, when the agent is told to stop."""
        await stop.wait()
        self._make(STOPPING)

    def finished(self) -> None:
        self._make(STOPPING)  # also when it ends by itself: no engine needs to wait for long
        self._make(FINISHED)

    def _make(self, name: str) -> None:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / name).touch()
