"""The data folder: one platform at a time, and nothing left over from one that was killed."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matrixinfer.up import record
from matrixinfer.up.errors import BadOptions, DataTaken
from matrixinfer.up.reaping import REAPER


@contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Hold the folder for this process. Raises DataTaken when another `up` has it, BadOptions when it is no folder to
    write into."""
    lock = _open_lock(data_dir)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataTaken(_who_has_it(data_dir)) from error
        yield
    finally:
        os.close(lock)


def _open_lock(data_dir: Path) -> int:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        return os.open(data_dir / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        why = "that is a file" if data_dir.is_file() else error.strerror or str(error)
        raise BadOptions(
            f"the data folder cannot be {data_dir} ({why}): name a folder, there already or not, with --data"
        ) from error


def _who_has_it(data_dir: Path) -> str:
    other = record.read_running(data_dir)
    who = f"process {other.pid}, serving {other.gateway_url}" if other else "it is just starting or stopping"
    return f"another `matrixinfer up` uses {data_dir} ({who}); stop it, or give this one a folder with --data"


def end_leftovers(data_dir: Path) -> None:
    """What a killed `up` left and its reaper has not ended yet; returns when nothing of it runs any more."""
    former = record.read(data_dir)
    if former is not None:
        subprocess.run([sys.executable, "-P", str(REAPER), former.house], stdin=subprocess.DEVNULL, check=True)
        record.remove(data_dir)
