"""What is kept of the embedded server between runs: its port and its users' passwords, readable by the owner only."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

import msgspec

from matrixinfer.bus.errors import Malformed
from matrixinfer.bus.topology import Part

FILE_NAME = "server.json"


class ServerRecord(msgspec.Struct, frozen=True):
    port: int
    prefix: str
    passwords: dict[str, str]

    def url(self, part: Part) -> str:
        return f"nats://{part.value}:{self.passwords[part.value]}@127.0.0.1:{self.port}"


def read_record(data_dir: Path) -> ServerRecord | None:
    """The server that runs, or last ran, with this data folder. Raises Malformed for a file that is not a record."""
    path = data_dir / FILE_NAME
    if not path.exists():
        return None
    try:
        record = msgspec.json.decode(path.read_bytes(), type=ServerRecord)
    except msgspec.MsgspecError as error:
        raise Malformed(f"{path} is not the record of an embedded server: {error}; delete it to start anew") from error
    missing = [part.value for part in Part if part.value not in record.passwords]
    if missing:
        fresh = {name: secrets.token_urlsafe(24) for name in missing}
        record = msgspec.structs.replace(record, passwords={**record.passwords, **fresh})
    return record


def new_record(port: int, prefix: str) -> ServerRecord:
    return ServerRecord(port, prefix, {part.value: secrets.token_urlsafe(24) for part in Part})


def write_private(path: Path, text: str) -> None:
    """Replace `path` at once, with mode 0600 from the first byte on."""
    draft = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
