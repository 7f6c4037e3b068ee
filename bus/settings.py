"""How a process reaches the bus."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BusSettings:
    """Read once per process, from flags over environment over defaults."""

    url: str = "nats://127.0.0.1:4222"
    """Server to connect to, `nats://user:password@host:port`; several separated by commas. `MATRIXINFER_NATS_URL`."""

    prefix: str = "mi"
    """First token of every subject and of every stream and bucket name but the default one, so that several
    installations can share a server. `MATRIXINFER_PREFIX`."""

    replicas: int = 1
    """Copies of each stream: 1 on one machine, 3 on a cluster of servers. `MATRIXINFER_BUS_REPLICAS`."""

    name: str = "matrixinfer"
    """What the server shows as the connection's name; the process's part."""

    connect_timeout_s: float = 10.0
    """How long the first connection may take before the start fails with an error that names the server."""

    pending_bytes: int = 64 * 1024 * 1024
    """What may wait in this process while the connection is broken; beyond it publishing fails."""

    request_timeout_s: float = 5.0
    """How long a question to the server itself (streams, buckets, acknowledgements of storing) may take."""
