"""How long placing pauses when the dispatcher of a pool ends, dies, freezes or loses its server, under steady load.

`PYTHONPATH=src:tests python -m bench.takeover` prints, for each way: from the signal to the first request that the
successor places, and the longest time without any placement around it. The load asks every 10 ms.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import uvloop

from support.clients import SteadyLoad
from support.eventually import eventually
from support.platform import MODEL, Platform

ROUNDS = 5
EVERY_S = 0.01
SETTLE_S = 1.0


class Pause(NamedTuple):
    """In seconds."""

    first_s: float
    gap_s: float


async def sigterm(platform: Platform) -> None:
    (await platform.owner()).signal(signal.SIGTERM)


async def kill(platform: Platform) -> None:
    (await platform.owner()).signal(signal.SIGKILL)


async def freeze(platform: Platform) -> None:
    (await platform.owner()).signal(signal.SIGSTOP)


async def restart(platform: Platform) -> None:
    await platform.server.restart()


WAYS: dict[str, Callable[[Platform], Awaitable[None]]] = {
    "planned handover (SIGTERM)": sigterm,
    "kill -9": kill,
    "frozen (SIGSTOP)": freeze,
    "nats-server killed and restarted": restart,
}


async def measure(folder: Path, interrupt: Callable[[Platform], Awaitable[None]]) -> tuple[Pause, int]:
    """One interruption; also how many requests were not answered whole."""
    async with Platform(folder) as platform:
        load = SteadyLoad(platform.url, model=MODEL, tokens=2, every_s=EVERY_S)
        async with load.running():
            await asyncio.sleep(SETTLE_S)
            epoch, began = await platform.epoch(), time.monotonic()
            await interrupt(platform)
            await eventually(lambda: platform.placed[-1].envelope.epoch > epoch, timeout_s=20, every_s=0.02)
            await asyncio.sleep(SETTLE_S)
        times = [placed.at for placed in platform.placed if placed.at >= began - SETTLE_S / 2]
        first = next(placed.at for placed in platform.placed if placed.envelope.epoch > epoch)
        gap_s = max(later - earlier for earlier, later in itertools.pairwise(times))
        return Pause(first - began, gap_s), len(load.unanswered())


async def main() -> None:
    print(
        f"{'seconds, median (worst) of ' + str(ROUNDS):36}{'to the first placement':>26}{'longest gap':>20}{'failed':>8}"
    )
    for name, interrupt in WAYS.items():
        pauses, failed = [], 0
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                pause, lost = await measure(Path(folder), interrupt)
            pauses.append(pause)
            failed += lost
        firsts, gaps = [pause.first_s for pause in pauses], [pause.gap_s for pause in pauses]
        print(f"{name:36}{_summary(firsts):>26}{_summary(gaps):>20}{failed:>8}", flush=True)


def _summary(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({max(values):.3f})"


if __name__ == "__main__":
    uvloop.run(main())
