"""The machine's cache of weights: one writer at a time, and a file appears only when it is complete and verified.

Beside each file is kept what it was when it was verified: one that is another since then is not used unseen.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

import msgspec

from matrixinfer.agents.weights.errors import ChecksumMismatch

_log = logging.getLogger("matrixinfer.agents.weights.cache")

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


class _Verified(msgspec.Struct):
    """A file as it was when its hash was computed."""

    sha256: str
    size_bytes: int
    mtime_ns: int


def is_whole(target: Path, sha256: str) -> bool:
    """Is `target` there, with this hash? Blocks while it reads the file, which it does when the file is not the one
    that was verified last. Raises OSError."""
    if not target.is_file():
        return False
    if _recorded(target) == _seen(target, sha256):
        return True
    with target.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        _log.warning("%s was changed since it was downloaded (sha256 %s, expected %s)", target, found, sha256)
        return False
    try:
        _record(target, sha256)
    except OSError as error:  # a cache that may only be read
        _log.debug("%s is read again the next time: %s", target, error)
    return True


def _seen(target: Path, sha256: str) -> _Verified:
    stat = target.stat()
    return _Verified(sha256, stat.st_size, stat.st_mtime_ns)


def _record(target: Path, sha256: str) -> None:
    _record_path(target).write_bytes(msgspec.json.encode(_seen(target, sha256)))


def _recorded(target: Path) -> _Verified | None:
    try:
        return msgspec.json.decode(_record_path(target).read_bytes(), type=_Verified)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _record_path(target: Path) -> Path:
    return target.with_name(f".{target.name}.verified")


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
    _record(target, sha256)
