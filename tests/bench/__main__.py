"""`make bench`, or `make bench ARGS="--seconds 2 --only requests,chunks,house,profile"`.

`takeover` kills dispatchers for some two minutes, and is measured only by name."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import uvloop
from rich.console import Console

from bench import cache_index, fair_queue, reconcile, report, scheduling, takeover
from bench.house import measure_house
from bench.profile import sample
from bench.rig import Rig
from bench.rows import added_ttft, chunks, replicated, throughput

PURE: dict[str, Callable[[Console], object]] = {
    "queue": fair_queue.main,
    "decision": scheduling.main,
    "index": cache_index.measure,
    "reconcile": reconcile.main,
}
ON_REQUEST = ("takeover",)
BY_DEFAULT = ("requests", "chunks", "servers", "house", "profile", "queue", "decision", "index", "reconcile")
EVERYTHING = (*BY_DEFAULT, *ON_REQUEST)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="load time of each row and side (default: 4)")
    parser.add_argument("--only", default=",".join(BY_DEFAULT), help=f"comma-separated, of: {', '.join(EVERYTHING)}")
    parser.add_argument("--model", default="", help="also start the real default model: 'real'")
    chosen = parser.parse_args()
    unknown = set(chosen.only.split(",")) - set(EVERYTHING)
    if unknown:
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}; expected some of {', '.join(EVERYTHING)}")
    return chosen


async def main(chosen: argparse.Namespace, folder: Path, console: Console) -> None:
    wanted = set(chosen.only.split(","))
    for name, measure in PURE.items():
        if name in wanted:
            measure(console)
    if wanted & {"requests", "chunks", "profile"}:
        async with Rig(folder / "one") as rig:
            if "requests" in wanted:
                report.ttft(console, await added_ttft(rig, chosen.seconds))
                report.requests(console, await throughput(rig, chosen.seconds))
            if "chunks" in wanted:
                report.chunks(console, await chunks(rig, chosen.seconds))
            if "profile" in wanted:
                for part in ("gateway", "dispatcher", "agent"):
                    report.profile(console, part, await sample(rig, part, 4, folder))
    if "servers" in wanted:
        async with Rig(folder / "three", three_servers=True) as rig:
            report.requests(console, await replicated(rig, chosen.seconds))
    if "house" in wanted:
        report.idle(console, await measure_house(folder / "s", "simulated", "--engine", "simulated", idle_s=10))
        if chosen.model == "real":
            report.idle(console, await measure_house(folder / "r", "llama.cpp", idle_s=10))
    if "takeover" in wanted:
        await takeover.main(console)


if __name__ == "__main__":
    options = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        uvloop.run(main(options, Path(temporary), Console(width=150)))
