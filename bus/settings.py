"""How a process reaches the bus."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from matrixinfer.bus.configuration import Settings

SCHEMES = ("nats", "tls", "ws", "wss")


def _servers(urls: str) -> str:
    for url in urls.split(","):
        parts = urlsplit(url.strip())
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise ValueError("nats://user:password@host:port, or several separated by commas")
    return urls


def _one_token(prefix: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", prefix):
        raise ValueError("1 to 32 letters, digits, - and _: it becomes one token of each subject")
    return prefix


class BusSettings(Settings):
    """Read once per process: flag over environment (`MATRIXINFER_BUS_…`) over file (`bus`) over default."""

    model_config = SettingsConfigDict(env_prefix="MATRIXINFER_BUS_")

    url: Annotated[str, AfterValidator(_servers)] = "nats://127.0.0.1:4222"
    """Server to connect to, `nats://user:password@host:port`; several separated by commas."""

    prefix: Annotated[str, AfterValidator(_one_token)] = "mi"
    """First token of every subject; unless it is the default one, also the beginning of every stream and bucket name,
    so that several installations can share a server."""

    replicas: int = Field(default=1, ge=1, le=5)
    """Copies of each stream: 1 on one machine, 3 on a cluster of servers."""

    name: str = "matrixinfer"
    """What the server shows as the connection's name: the process's part."""

    connect_timeout_s: float = Field(default=10.0, gt=0)
    """How long the first connection may take before the start fails with an error that names the server."""

    pending_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    """What may wait in this process while the connection is broken; beyond it publishing fails."""

    request_timeout_s: float = Field(default=5.0, gt=0)
    """How long the server may take to answer for streams, buckets and the storing of a message."""
