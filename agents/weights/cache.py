"""The machine's cache of weights: one writer at a time, and a file appears only when it is complete and verified."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from matrixinfer.agents.weights.errors import ChecksumMismatch

LOCK_POLL_S = 0.1
"""A waiting process looks this often; polling, since a thread that waits for a lock could not be cancelled."""

_PARTIAL = ".partial-"
_CHUNK_BYTES = 1024 * 1024


@contextlib.asynccontextmanager
async def writing(folder: Path) -> AsyncIterator[Path]:
    """Hold `folder`, alone on this machine, with a fresh working folder inside it that goes away at the end.

    What a killed process left is removed first. Raises OSError when the folder cannot be written.
    """
    with _lock_file(folder) as lock:
        while not _try_lock(lock):  # noqa: ASYNC110 - its holder may be another process, which sets no event here
            await asyncio.sleep(LOCK_POLL_S)
        await asyncio.to_thread(_remove_leftovers, folder)
        with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=folder, ignore_cleanup_errors=True) as partial:
            yield Path(partial)


def _lock_file(folder: Path) -> IO[str]:
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / ".lock").open("w")


def _remove_leftovers(folder: Path) -> None:
    for left in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(left, ignore_errors=True)


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def place(source: IO[bytes], partial: Path, target: Path, sha256: str) -> None:
    """Copy to `target` by way of the folder `partial`, on the same file system; blocks. Raises ChecksumMismatch."""
    copy = partial / "verified"
    digest = hashlib.sha256()
    with copy.open("wb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != sha256:
        raise ChecksumMismatch(
            f"{target.name}: expected sha256 {sha256}, got {digest.hexdigest()}; the source changed, or the address "
            "is wrong: compare them before you change the address"
        )
    copy.replace(target)
