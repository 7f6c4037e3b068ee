"""A real nats-server for tests: on a free port, its files in a folder of the test, killed and restarted at will."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.jetstream import connect
from matrixinfer.bus.server.binary import find_server
from matrixinfer.bus.server.config import render
from matrixinfer.bus.server.process import greets
from matrixinfer.bus.server.record import free_port, new_record
from matrixinfer.bus.settings import BusSettings
from matrixinfer.bus.topology import Part
from support.eventually import eventually


class RunningServer:
    """Not supervised: `kill` leaves it dead until `restart`. `url` is the operator's, who may do everything."""

    def __init__(self, folder: Path, prefix: str = "mi") -> None:
        self._folder = folder
        self._record = new_record(free_port(), prefix)
        self._process: asyncio.subprocess.Process | None = None
        self.log_path = folder / "nats-server.log"

    @property
    def port(self) -> int:
        return self._record.port

    @property
    def url(self) -> str:
        return self.url_of(Part.OPERATOR)

    def url_of(self, part: Part) -> str:
        return self._record.url(part)

    async def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "nats-server.conf"
        config.write_text(render(self._record, self._folder))
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(find_server()), "-c", str(config), stdout=log, stderr=log
            )
        await eventually(lambda: greets(self._record.port), timeout_s=15.0)

    async def kill(self) -> None:
        """As a crash would: nothing is written out."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        await self._end(signal.SIGTERM)

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    def pause(self) -> None:
        """Freeze it: connections stay, nothing is answered. `resume` lets it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    async def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            os.kill(process.pid, signal.SIGCONT)
            process.send_signal(how)
            await process.wait()


@contextlib.asynccontextmanager
async def running_server(folder: Path, prefix: str = "mi") -> AsyncIterator[RunningServer]:
    """`async with running_server(tmp_path) as server: server.url`."""
    server = RunningServer(folder / "nats", prefix)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


@contextlib.asynccontextmanager
async def connected(url: str, **settings: object) -> AsyncIterator[Bus]:
    """A bus on the server at `url`, closed at the end; `settings` are fields of BusSettings."""
    bus = await connect(BusSettings.model_validate({"url": url, **settings}), SystemClock())
    try:
        yield bus
    finally:
        await bus.link.close()
