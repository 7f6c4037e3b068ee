"""Where the platform of this machine keeps its data, and the note it leaves there about itself.

`up.json` tells other commands where the gateway and the bus are, so that they need no flags; it holds the operator's
password and is readable by its owner only.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

_CLOCK_SLACK_S = 1.0


@dataclass(frozen=True)
class Record:
    """A running platform. `house` is the marker that all its processes carry in their environment."""

    pid: int
    house: str
    version: str
    gateway_url: str
    bus_url: str
    bus_prefix: str
    data_dir: str
    created_s: float = 0.0
    """When the process was made, in unix seconds: its pid alone may be somebody else's by now."""


def default_data_dir() -> Path:
    """`$XDG_DATA_HOME/matrixinfer`, or `~/.local/share/matrixinfer`."""
    home = os.environ.get("XDG_DATA_HOME")
    base = Path(home) if home and Path(home).is_absolute() else Path("~/.local/share").expanduser()
    return base / "matrixinfer"


def write(data_dir: Path, record: Record) -> None:
    """Replaced whole, so that a reader never sees a half."""
    temporary = data_dir / "up.json.tmp"
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(record), file, indent=2)
    temporary.replace(_path(data_dir))


def read(data_dir: Path) -> Record | None:
    """What the last `up` on this folder wrote; None when there is none, or it cannot be read."""
    try:
        return Record(**json.loads(_path(data_dir).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def read_running(data_dir: Path) -> Record | None:
    """The same, unless that `up` is gone."""
    record = read(data_dir)
    return record if record is not None and _runs(record) else None


def remove(data_dir: Path) -> None:
    _path(data_dir).unlink(missing_ok=True)


def _runs(record: Record) -> bool:
    try:
        return abs(psutil.Process(record.pid).create_time() - record.created_s) < _CLOCK_SLACK_S
    except psutil.Error:
        return False


def _path(data_dir: Path) -> Path:
    return data_dir / "up.json"
