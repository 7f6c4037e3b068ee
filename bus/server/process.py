"""The server as a child process: started, watched, started again on the same port when it dies."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec

from matrixinfer.bus.background import spawn
from matrixinfer.bus.clock import Clock, SystemClock
from matrixinfer.bus.errors import Unavailable
from matrixinfer.bus.server.binary import find_server
from matrixinfer.bus.server.config import HOST, render
from matrixinfer.bus.server.orphans import die_with_parent
from matrixinfer.bus.server.record import (
    FILE_NAME,
    ServerRecord,
    free_port,
    is_free,
    new_record,
    read_record,
    write_private,
)
from matrixinfer.bus.topology import Part

logger = logging.getLogger("matrixinfer.bus.server.process")

READY_WITHIN_S = 15.0
STOP_WITHIN_S = 10.0
_BACK_OFF_S = (0.1, 0.5, 1.0, 2.0, 5.0)
_HEALTHY_AFTER_S = 30.0


class EmbeddedServer:
    """`port` 0 takes the port of the last run, or a free one. All its files are in `data_dir`."""

    def __init__(self, data_dir: Path, *, port: int = 0, prefix: str = "mi", clock: Clock | None = None) -> None:
        self.data_dir = data_dir
        self.log_path = data_dir / "nats-server.log"
        self._port = port
        self._prefix = prefix
        self._clock = clock or SystemClock()
        self._record: ServerRecord | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._supervising: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id; None while there is none."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def url(self, part: Part) -> str:
        """Where and as whom `part` connects; after `start`."""
        if self._record is None:
            raise RuntimeError("url() before start(): the port is not known yet")
        return self._record.url(part)

    async def start(self) -> None:
        """Returns when the server takes connections. Raises Unavailable: no program, or it does not start, with the
        last lines of its log."""
        binary = find_server()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._record = self._prepare()
        await self._spawn(binary)
        self._supervising = spawn(self._supervise(binary), "supervise nats-server")

    async def stop(self) -> None:
        """Let the server write out what it has and end. Safe to call twice."""
        if self._supervising is not None:
            self._supervising.cancel()
            await asyncio.wait([self._supervising])
            self._supervising = None
        process, self._process = self._process, None
        if process is not None:
            await _end(process)

    def _prepare(self) -> ServerRecord:
        record = read_record(self.data_dir) or new_record(self._port or free_port(), self._prefix)
        port = self._port or (record.port if is_free(record.port) else free_port())
        record = msgspec.structs.replace(record, port=port, prefix=self._prefix)
        write_private(self.data_dir / FILE_NAME, msgspec.json.encode(record).decode())
        write_private(self.data_dir / "nats-server.conf", render(record, self.data_dir))
        return record

    async def _spawn(self, binary: Path) -> None:
        with self.log_path.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                str(binary),
                "-c",
                str(self.data_dir / "nats-server.conf"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for the parent, which stops the server last
                preexec_fn=die_with_parent(),
            )
        self._process = process
        try:
            await self._until_ready(process)
        except BaseException:
            await _end(process)
            raise

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        assert self._record is not None
        deadline = self._clock.monotonic() + READY_WITHIN_S
        while not await greets(self._record.port):
            if process.returncode is not None:
                raise Unavailable(f"nats-server ended with {process.returncode}:\n{self._last_lines()}")
            if self._clock.monotonic() > deadline:
                raise Unavailable(f"nats-server is not ready after {READY_WITHIN_S:g} s:\n{self._last_lines()}")
            await self._clock.sleep(0.02)

    async def _supervise(self, binary: Path) -> None:
        attempt = 0
        while True:
            process = self._process
            started_at = self._clock.monotonic()
            if process is not None:
                code = await process.wait()
                logger.error("nats-server ended with %s; starting it again. %s", code, self._last_lines(3))
            if self._clock.monotonic() - started_at > _HEALTHY_AFTER_S:
                attempt = 0
            await self._clock.sleep(_BACK_OFF_S[min(attempt, len(_BACK_OFF_S) - 1)])
            attempt += 1
            try:
                await self._spawn(binary)
            except (Unavailable, OSError):
                logger.exception("nats-server could not be started again")

    def _last_lines(self, count: int = 10) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []
        return "\n".join(lines[-count:])


async def greets(port: int) -> bool:
    """Does a NATS server say hello there?"""
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    try:
        async with asyncio.timeout(1.0):
            return (await reader.readline()).startswith(b"INFO")
    except (TimeoutError, OSError):
        return False
    finally:
        writer.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_WITHIN_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
