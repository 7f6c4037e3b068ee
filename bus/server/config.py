"""The embedded server's configuration: limits that fit the topology, quick detection of frozen clients, users."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matrixinfer.bus.server.permissions import permissions
from matrixinfer.bus.server.record import ServerRecord
from matrixinfer.bus.topology import BUCKETS, MAX_PAYLOAD_BYTES, STREAMS, Part, Storage

HOST = "127.0.0.1"
INSTALLATIONS = 4
"""Streams reserve their size when they are made; so many installations, told apart by prefix, fit one server."""

MAX_PENDING_BYTES = 256 * 1024 * 1024
"""What the server holds for one slow reader before it cuts it off."""


def store_bytes(storage: Storage) -> int:
    """What the topology reserves of one kind of storage."""
    streams = sum(spec.max_bytes for spec in STREAMS if spec.storage is storage)
    return streams + sum(spec.max_bytes for spec in BUCKETS if spec.storage is storage)


def render(record: ServerRecord, data_dir: Path) -> str:
    """The configuration file, as JSON, which the server's own syntax contains. It holds passwords."""
    config: dict[str, Any] = {
        "server_name": f"matrixinfer-{record.port}",
        "listen": f"{HOST}:{record.port}",
        "max_payload": MAX_PAYLOAD_BYTES,
        "max_pending": MAX_PENDING_BYTES,
        "ping_interval": "5s",
        "ping_max": 2,
        "write_deadline": "5s",
        "jetstream": {
            "store_dir": str(data_dir),
            "max_memory_store": INSTALLATIONS * store_bytes(Storage.MEMORY),
            "max_file_store": INSTALLATIONS * store_bytes(Storage.FILE),
        },
        "authorization": {"users": [_user(part, record) for part in Part]},
    }
    return json.dumps(config, indent=2)


def _user(part: Part, record: ServerRecord) -> dict[str, Any]:
    user: dict[str, Any] = {"user": part.value, "password": record.passwords[part.value]}
    allowed = permissions(part, record.prefix)
    if allowed is not None:
        user["permissions"] = allowed
    return user
