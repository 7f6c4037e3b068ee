"""Where a Prometheus finds the gateways: a file for its `file_sd_configs`, since their ports are new at every start."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit


def write_targets(data_dir: Path, worker_urls: Sequence[str]) -> None:
    """Replaced whole: Prometheus reads it whenever it changes."""
    targets = [urlsplit(url).netloc for url in worker_urls]
    temporary = data_dir / "gateways.json.tmp"
    temporary.write_text(json.dumps([{"targets": targets}], indent=2))
    temporary.replace(_path(data_dir))


def remove_targets(data_dir: Path) -> None:
    _path(data_dir).unlink(missing_ok=True)


def _path(data_dir: Path) -> Path:
    return data_dir / "gateways.json"
