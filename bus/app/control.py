"""The application: serves its duties until it is cancelled, over FastStream or, on the memory bus, over the port."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from matrixinfer.bus.app.duty import Desk, Duty
from matrixinfer.bus.app.over_queue import serve_over_queue
from matrixinfer.bus.app.verdicts import Patience
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.memory.link import MemoryLink
from matrixinfer.bus.settings import BusSettings


class ControlApp:
    """Durable duties with verdicts: Retry is put back later by the server's schedule, Reject becomes a dead letter,
    any other exception is tried again a few times at short intervals and then becomes a dead letter too."""

    def __init__(
        self, bus: Bus, settings: BusSettings, duties: Sequence[Duty], patience: Patience | None = None
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._duties = tuple(duties)
        self._patience = patience or Patience()

    async def run(self) -> None:
        """Until cancelled, through restarts of the server; what is in work then is given back. Raises Denied and
        Conflict when the consumers cannot be had."""
        desks = [(duty, Desk(self._bus, duty, self._patience)) for duty in self._duties]
        if isinstance(self._bus.link, MemoryLink):
            async with asyncio.TaskGroup() as group:
                for duty, desk in desks:
                    group.create_task(serve_over_queue(self._bus, duty, desk), name=duty.consumer.name)
            return
        from matrixinfer.bus.app.over_faststream import FastStreamServer  # heavy, and not needed without a server

        await FastStreamServer(self._bus, self._settings, desks).run()
