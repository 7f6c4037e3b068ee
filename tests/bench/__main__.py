"""`make bench`, or `make bench ARGS="--seconds 2 --only requests,chunks,house,profile"`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import uvloop
from rich.console import Console

from bench import report
from bench.house import measure_house
from bench.profile import sample
from bench.rig import Rig
from bench.rows import added_ttft, chunks, replicated, throughput

EVERYTHING = ("requests", "chunks", "servers", "house", "profile")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="load time of each row and side (default: 4)")
    parser.add_argument("--only", default=",".join(EVERYTHING), help=f"comma-separated, of: {', '.join(EVERYTHING)}")
    parser.add_argument("--model", default="", help="also start the real default model: 'real'")
    chosen = parser.parse_args()
    unknown = set(chosen.only.split(",")) - set(EVERYTHING)
    if unknown:
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}; expected some of {', '.join(EVERYTHING)}")
    return chosen


async def main(chosen: argparse.Namespace, folder: Path, console: Console) -> None:
    wanted = set(chosen.only.split(","))
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


if __name__ == "__main__":
    options = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        uvloop.run(main(options, Path(temporary), Console(width=150)))
