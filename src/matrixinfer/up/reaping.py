"""Our own reaper process, kept alive: it ends what this process leaves, so it has to be there when this process dies.

Its standard input is a pipe whose only write end stays with this process, whichever reaper reads it. Should one be
killed, the next one reads the same pipe.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from matrixinfer.bus.clock import Clock
from matrixinfer.up.child import PAUSES, ending
from matrixinfer.up.parts import MARKER

logger = logging.getLogger("matrixinfer.up.reaping")

REAPER = Path(__file__).resolve().parent.parent / "reaper.py"


@asynccontextmanager
async def reaper(house: str, clock: Clock, say: Callable[[str], None]) -> AsyncIterator[None]:
    """While this lasts, the death of this process ends everything of `house`; so does the end of the block."""
    read_end, write_end = os.pipe()
    try:
        process = await _start(house, read_end)
        watching = asyncio.create_task(_keep(house, read_end, process, clock, say), name="watch the reaper")
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    finally:
        os.close(write_end)
        last = await _start(house, read_end)  # ours may just have been killed: this one looks for the last time
        os.close(read_end)
        await last.wait()


async def _keep(
    house: str, pipe: int, process: asyncio.subprocess.Process, clock: Clock, say: Callable[[str], None]
) -> None:
    """Start the next one whenever one has ended."""
    streak = 0
    while True:
        began_s = clock.monotonic()
        code = await process.wait()
        ran_s = clock.monotonic() - began_s
        pause_s = PAUSES.wait_s(streak, ran_s)
        streak = 0 if PAUSES.is_healthy(ran_s) else streak + 1
        say(f"reaper {ending(code)}; starts again in {pause_s:g} s")
        await clock.sleep(pause_s)
        process = await _restart(house, pipe, clock)


async def _restart(house: str, pipe: int, clock: Clock) -> asyncio.subprocess.Process:
    """As often as it takes: a machine that is out of processes recovers."""
    while True:
        try:
            return await _start(house, pipe)
        except OSError:
            logger.exception("the reaper cannot be started; another attempt in %g s", PAUSES.limit_s)
            await clock.sleep(PAUSES.limit_s)


async def _start(house: str, pipe: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", str(REAPER), house),
        stdin=pipe,
        stdout=asyncio.subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name != MARKER},
        start_new_session=True,  # a Ctrl-C in the terminal is for `up` alone
    )
