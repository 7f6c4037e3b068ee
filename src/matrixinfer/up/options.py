"""What a person may ask of `up`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """`manifest` is the YAML to apply. `nats_url` names a server to use instead of an own one."""

    data_dir: Path
    manifest: str
    host: str = "127.0.0.1"
    port: int = 8080
    gateways: int = 1
    nats_url: str | None = None
    """Empty or None: start a server of our own."""
