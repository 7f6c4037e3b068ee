"""One part's process, kept running: started again with a growing pause when it dies, stopped within a given time."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from matrixinfer.agents.node.backoff import Backoff
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.configuration import for_children
from matrixinfer.up.errors import PartFailed
from matrixinfer.up.parts import PartSpec

logger = logging.getLogger("matrixinfer.up.child")

DEATHS_AT_START = 3
"""So many deaths before the platform is ready, and the start has failed."""

LOG_BYTES = 16 * 1024 * 1024
LAST_LINES = 15
PAUSES = Backoff(first_s=0.1, limit_s=10.0, reset_s=30.0)


class Child:
    """`run` it as a task; `is_settled` once the platform is ready: from then on deaths are never final."""

    def __init__(self, spec: PartSpec, data_dir: Path, clock: Clock, say: Callable[[str], None]) -> None:
        self.spec = spec
        self.log = data_dir / "logs" / f"{spec.name}.log"
        self.is_settled = False
        self._data_dir = data_dir
        self._clock = clock
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`. Raises PartFailed when it dies too often before the platform is ready."""
        deaths, streak = 0, 0
        while not self._stopping.is_set():
            began_s = self._clock.monotonic()
            self._process = await self._start()
            if self._stopping.is_set():  # asked to stop while the process was being started
                self.kill()
            code = await self._process.wait()
            if self._stopping.is_set():
                return
            signal_group(self._process.pid, signal.SIGKILL)
            deaths += 1
            if not self.is_settled and deaths >= DEATHS_AT_START:
                raise PartFailed(f"{self.spec.name} died {deaths} times, {ending(code)}\n{self.last_lines()}")
            ran_s = self._clock.monotonic() - began_s
            pause_s = PAUSES.wait_s(streak, ran_s)
            streak = 0 if PAUSES.is_healthy(ran_s) else streak + 1
            why = f" ({last_line(self.log)})" if code > 0 else ""  # who was ended by a signal had no last word
            self._say(f"{self.spec.name} {ending(code)}{why}; starts again in {pause_s:g} s (log: {self.log})")
            await self._clock.sleep(pause_s)

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL to its group when it takes longer than it may."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self.spec.stop_s):
                await process.wait()
        except TimeoutError:
            logger.warning("%s did not end within %g s and is killed", self.spec.name, self.spec.stop_s)
            self.kill()
            await process.wait()

    def kill(self) -> None:
        """At once, with everything in its group."""
        if self._process is not None and self._process.returncode is None:
            signal_group(self._process.pid, signal.SIGKILL)

    def last_lines(self) -> str:
        """The end of its log, for an error message."""
        return last_lines(self.log)

    async def _start(self) -> asyncio.subprocess.Process:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_name(self.log.name + ".1"))
        with self.log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *self.spec.argv,
                env={**os.environ, **for_children(os.environ), **self.spec.environment},
                cwd=self._data_dir,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is for `up` alone
            )


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal the group that `pid` leads; a group that is gone is no error."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def ending(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"


def last_lines(log: Path) -> str:
    """The last lines of a log, indented; of a log that is not there, a word about that."""
    return "\n".join([f"the end of {log}:", *(f"  {line}" for line in _tail(log)[-LAST_LINES:] or ["(empty)"])])


def last_line(log: Path) -> str:
    """The last words in a log: why a part ends stands there."""
    return next((line.strip() for line in reversed(_tail(log)) if line.strip()), "its log is empty")


def _tail(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            return file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
