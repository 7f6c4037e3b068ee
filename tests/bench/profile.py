"""Where the time goes: py-spy samples gateway and dispatcher under load, and the hottest functions are listed."""

from __future__ import annotations

import asyncio
import collections
import sys
from pathlib import Path

from bench.client import load
from bench.load_shape import chat
from bench.rig import Rig


async def sample(rig: Rig, name: str, seconds: int, folder: Path) -> list[tuple[str, float]]:
    """(function, share of all samples) of the process `name`, the share counted where the time itself is spent."""
    target = folder / f"{name}.folded"
    command = [str(Path(sys.executable).with_name("py-spy")), "record", "--format", "raw", "--rate", "500"]
    spy = await asyncio.create_subprocess_exec(
        *command, "--duration", str(seconds), "--output", str(target), "--pid", str(rig.pids[name]),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    loading = asyncio.create_task(
        load(rig.port, chat(1024, stream=False, tokens=8), connections=64, seconds=seconds + 2)
    )
    _, complaint = await spy.communicate()
    await loading
    if spy.returncode:
        raise RuntimeError(f"py-spy could not sample {name}: {complaint.decode().strip()}")
    return hottest(target.read_text())


def hottest(folded: str, most: int = 15) -> list[tuple[str, float]]:
    """The leaves of folded stacks, largest first."""
    leaves: collections.Counter[str] = collections.Counter()
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        leaves[stack.rpartition(";")[2]] += int(count)
    total = sum(leaves.values()) or 1
    return [(leaf, count / total) for leaf, count in leaves.most_common(most)]
