"""The containers' records on disk: how a node that was killed knows what it had started.

One small JSON file a container, replaced whole: `pods/<namespace>/<pod>/<container>.json` below the data folder, with
every name escaped as on the bus. It is written before a process is started and again when its pid is known.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Collection
from pathlib import Path

import msgspec

from matrixinfer.agents.node.errors import NodeTaken
from matrixinfer.agents.node.pods import ContainerId, PodId
from matrixinfer.agents.node.states import ContainerState
from matrixinfer.bus.errors import Malformed
from matrixinfer.bus.ports.leases import Lease
from matrixinfer.bus.subjects import escape, unescape

logger = logging.getLogger("matrixinfer.agents.node.records")

LAST_LINE_CHARACTERS = 500
_TAIL_BYTES = 8192
_UID = ".uid"
_decoder = msgspec.json.Decoder(ContainerState)
_lease_decoder = msgspec.json.Decoder(Lease)


class Records:
    """Holds the data folder of a node for itself while it is open. Raises NodeTaken when another node has it."""

    def __init__(self, data_dir: Path) -> None:
        self._pods = data_dir.absolute() / "pods"
        self.claims_dir = data_dir.absolute() / "claims"
        """What PersistentVolumeClaims are here: `<namespace>/<claim>`, kept when Pods go."""
        self._logs = data_dir.absolute() / "logs" / "pods"
        self._pods.mkdir(parents=True, exist_ok=True)
        self._lease = self._pods / ".lease"
        self._lock = os.open(self._pods / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise NodeTaken(
                f"another node works with {data_dir}; stop it, or give this one its own MATRIXINFER_NODE_DATA_DIR"
            ) from error

    def save_lease(self, lease: Lease) -> None:
        """The next node on this folder takes it over. Raises OSError."""
        _write(self._lease, msgspec.json.encode(lease))

    def load_lease(self) -> Lease | None:
        """The lease of the last node on this folder; None when there was none, or it cannot be read."""
        try:
            return _lease_decoder.decode(self._lease.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            logger.warning("the lease of the last node on this folder cannot be read: %s", error)
            return None

    def close(self) -> None:
        os.close(self._lock)

    def load(self) -> dict[ContainerId, ContainerState]:
        """What the last node wrote. A record that cannot be read is dropped, with a warning."""
        states: dict[ContainerId, ContainerState] = {}
        for path in sorted(self._pods.glob("*/*/*.json")):
            namespace, pod, container = path.relative_to(self._pods).with_suffix("").parts
            try:
                id = ContainerId(PodId(unescape(namespace), unescape(pod)), unescape(container))
                states[id] = _decoder.decode(path.read_bytes())
            except (OSError, ValueError, RecursionError, Malformed) as error:
                logger.warning("record %s cannot be read and is dropped: %s", path, error)
                _remove(path)
        return states

    def save(self, id: ContainerId, state: ContainerState) -> None:
        """Raises OSError."""
        path = self._record(id)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, msgspec.json.encode(state))

    def forget(self, id: ContainerId) -> None:
        """The record goes."""
        _remove(self._record(id))

    def make_room(self, pod: PodId, uid: str) -> None:
        """A folder for this very Pod: what another one of its name has left is removed. Raises OSError."""
        folder = self._folder(pod)
        mark = folder / _UID
        if not _says(mark, uid):
            _remove(folder)
            folder.mkdir(parents=True, exist_ok=True)
            _write(mark, uid.encode())

    def forget_pod(self, pod: PodId) -> None:
        """Its folder goes, with the volumes that are as old as the Pod. Logs stay."""
        _remove(self._folder(pod))

    def sweep(self, known: Collection[PodId]) -> None:
        """Folders of other Pods than these go."""
        kept = {self._folder(pod) for pod in known}
        for folder in self._pods.glob("*/*"):
            if folder not in kept:
                _remove(folder)

    def working_dir(self, pod: PodId) -> Path:
        """Raises OSError: a container may have made a file of it."""
        folder = self._folder(pod) / "work"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def volumes_dir(self, pod: PodId) -> Path:
        """Of volumes that are as old as the Pod."""
        return self._folder(pod) / "volumes"

    def log_path(self, id: ContainerId) -> Path:
        """Where the container's output goes. Called at a start: what the run before has said is moved to `.1`. Raises
        OSError."""
        path = self._log(id)
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.with_name(path.name + ".1")
        for odd in (path, before):
            if odd.is_dir():
                _remove(odd)
        if path.exists() and path.stat().st_size > 0:
            path.replace(before)
        return path

    def last_line(self, id: ContainerId) -> str:
        """The last words of the container, cut to `LAST_LINE_CHARACTERS`; empty when it said nothing."""
        try:
            with self._log(id).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = log.read().decode(errors="replace").split("\n")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:LAST_LINE_CHARACTERS]

    def _log(self, id: ContainerId) -> Path:
        return self._logs / escape(id.pod.namespace) / escape(id.pod.name) / f"{escape(id.container)}.log"

    def _folder(self, pod: PodId) -> Path:
        return self._pods / escape(pod.namespace) / escape(pod.name)

    def _record(self, id: ContainerId) -> Path:
        return self._folder(id.pod) / f"{escape(id.container)}.json"


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, also on a disk that is full."""
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        _remove(temporary)
        raise


def _says(path: Path, content: str) -> bool:
    try:
        return path.read_bytes() == content.encode()
    except OSError:
        return False


def _remove(path: Path) -> None:
    """A file, or a folder with all that is in it; what cannot be removed is in nobody's way but its Pod's."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    except OSError:
        shutil.rmtree(path, ignore_errors=True)
