"""How long placing pauses when the dispatcher of a pool ends, dies, freezes or loses its server, under steady load.

`PYTHONPATH=src:tests python -m bench.takeover` prints, for each way: from the signal to the first request that the
successor places, and from the last one of its predecessor to that. The load asks every 10 ms.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import uvloop
from rich.console import Console
from rich.table import Table

from support.clients import SteadyLoad
from support.eventually import eventually
from support.platform import MODEL, Platform

ROUNDS = 3
EVERY_S = 0.01
SETTLE_S = 1.0


class Pause(NamedTuple):
    """In seconds."""

    first_s: float
    gap_s: float


WAYS = {
    "planned handover (SIGTERM)": signal.SIGTERM,
    "kill -9": signal.SIGKILL,
    "frozen (SIGSTOP)": signal.SIGSTOP,
    "nats-server killed and restarted": None,
}


async def measure(folder: Path, number: signal.Signals | None) -> tuple[Pause, int]:
    """One interruption, of the server without a `number`; also how many requests were not answered whole."""
    async with Platform(folder) as platform:
        load = SteadyLoad(platform.url, model=MODEL, tokens=2, every_s=EVERY_S)
        async with load.running():
            await asyncio.sleep(SETTLE_S)
            epoch, owner = await platform.epoch(), await platform.owner()
            began = time.monotonic()
            if number is None:
                await platform.server.restart()
            else:
                owner.signal(number)
            await eventually(lambda: platform.placed[-1].envelope.epoch > epoch, timeout_s=20, every_s=0.02)
            await asyncio.sleep(SETTLE_S)
        number_of_first = next(n for n, placed in enumerate(platform.placed) if placed.envelope.epoch > epoch)
        last, first = platform.placed[number_of_first - 1 : number_of_first + 1]
        return Pause(first.at - began, first.at - last.at), len(load.unanswered())


async def main(console: Console | None = None) -> None:
    logging.getLogger("matrixinfer").setLevel(logging.CRITICAL)
    table = Table("seconds, median (worst)", "to the first placement", "from the last one", "failed")
    table.title = f"Placing pauses while the dispatcher of a pool changes; {ROUNDS} rounds"
    for name, number in WAYS.items():
        pauses, failed = [], 0
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                pause, lost = await measure(Path(folder), number)
            pauses.append(pause)
            failed += lost
        firsts, gaps = [pause.first_s for pause in pauses], [pause.gap_s for pause in pauses]
        table.add_row(name, _summary(firsts), _summary(gaps), str(failed))
    (console or Console(width=120)).print(table)


def _summary(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({max(values):.3f})"


if __name__ == "__main__":
    uvloop.run(main())
