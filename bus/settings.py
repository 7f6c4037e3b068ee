"""How a process reaches the bus."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from matrixinfer.bus.configuration import Settings


class BusSettings(Settings):
    """Read once per process: flag over environment (`MATRIXINFER_BUS_…`) over file (`bus`) over default."""

    model_config = SettingsConfigDict(env_prefix="MATRIXINFER_BUS_")

    url: str = "nats://127.0.0.1:4222"
    """Server to connect to, `nats://user:password@host:port`; several separated by commas."""

    prefix: str = "mi"
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
