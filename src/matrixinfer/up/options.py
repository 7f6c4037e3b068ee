"""What a person may ask of `up`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from matrixinfer.bus.settings import SCHEMES
from matrixinfer.up.errors import BadOptions


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

    def __post_init__(self) -> None:
        """Raises BadOptions before anything is started."""
        if self.nats_url and not all(_names_a_server(url) for url in self.nats_url.split(",")):
            came = self.nats_url.rpartition("@")[2]  # without a password
            raise BadOptions(f"--nats: expected nats://host:port, or several separated by commas, got {came!r}")


def _names_a_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False
