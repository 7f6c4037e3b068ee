"""What is damaged on the node's disk, or finds no room there, ends no node: its Pod is told, and the others run."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from matrixinfer.agents.node.records import Records
from matrixinfer.bus.contracts.cluster import object_key
from support.eventually import eventually
from support.node import World, pids_in

Body = dict[str, Any]
RECORD = "pods/elsewhere/odd/main.json"
STATE = {"uid": "u1", "life": "a", "started_s": 1.7e9, "grace_s": 30.0, "process": {"pid": 2**30, "created_s": 1.7e9}}
ENDED = {"exit_code": 1, "started_s": 1.7e9, "finished_s": 1.7e9}


def pod(name: str, namespace: str = "default", **spec: Any) -> Body:
    """Any: fields of a Pod's spec."""
    metadata = {"name": name, "namespace": namespace, "uid": "u1", "labels": {}}
    spec = {"containers": [{"name": "main", "command": ["sh", "-c", "echo here; sleep 60"]}]} | spec
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def has(path: str, content: bytes | Body) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    return make


def has_folder(path: str) -> Callable[[Path], None]:
    return has(f"{path}/more/x", b"")


HEALED = {
    "a record that is empty": has(RECORD, b""),
    "a record that is half written": has(RECORD, json.dumps(STATE).encode()[:40]),
    "a record that is no text": has(RECORD, b"\xff\xfe"),
    "a record without an end": has(RECORD, b"[" * 100_000),
    "a record with more without an end": has(RECORD, b'{"more": ' + b"[" * 100_000),
    "a record that is a folder": has_folder(RECORD),
    "a record of the node's own group": has(RECORD, STATE | {"process": {"pid": 0, "created_s": 9e9}}),
    "a record of every process": has(RECORD, STATE | {"process": {"pid": -1, "created_s": 9e9}}),
    "a record of a process that cannot be": has(RECORD, STATE | {"process": {"pid": 2**70, "created_s": 9e9}}),
    "a record beyond all calendars": has(RECORD, STATE | {"started_s": 1e300}),
    "an end beyond all calendars": has(RECORD, STATE | {"ending": ENDED | {"finished_s": 1e300}}),
    "a code beyond all": has(RECORD, STATE | {"ending": ENDED | {"exit_code": 2**70}}),
    "a signal that there is none of": has(RECORD, STATE | {"stop_signal": "SIGNONE"}),
    "a life without a name": has(RECORD, STATE | {"life": ""}),
    "a record of no name": has("pods/elsewhere/odd/=zz.json", STATE),
    "a record of no pod": has("pods/else where/odd/main.json", STATE),
    "a folder that is a file": has("pods/elsewhere/odd", b"x"),
    "a mark that is a folder": has_folder("pods/elsewhere/odd/.uid"),
    "a mark that is no text": has("pods/elsewhere/odd/.uid", b"\xff"),
    "a log that is a folder": has_folder("logs/pods/elsewhere/odd/main.log"),
    "a lease that is none": has("pods/.lease", b'{"name"'),
    "a lease without an end": has("pods/.lease", b'{"more": ' + b"[" * 100_000),
    "a lease that is a folder": has_folder("pods/.lease"),
}
TOLD = {
    "a namespace that is a file": has("pods/elsewhere", b"x"),
    "logs that are a file": has("logs/pods/elsewhere/odd", b"x"),
}


async def waiting(world: World) -> str:
    """What is told of the container that cannot start."""
    found = (await world.pod("odd", "elsewhere") or {}).get("status", {})
    states = [one["state"].get("waiting", {}) for one in found.get("containerStatuses", ())]
    return next((one["message"] for one in states if one.get("reason") == "CreateContainerError"), "")


async def tell(world: World, document: Body) -> None:
    metadata = document["metadata"]
    await world.store.put(object_key("Pod", metadata["namespace"], metadata["name"]), json.dumps(document).encode())


@pytest.mark.parametrize("name", HEALED)
async def test_what_is_damaged_is_dropped_and_its_pod_runs_as_the_others(world, name):
    HEALED[name](world.settings.data_dir)
    await tell(world, pod("odd", "elsewhere"))
    await tell(world, pod("p"))
    async with world.node() as node:
        await eventually(lambda: world.ready("odd", "elsewhere"))
        await eventually(world.ready)
        assert not node.done()
    async with world.node() as successor:
        await eventually(lambda: world.ready("odd", "elsewhere"))
        assert not successor.done()


@pytest.mark.parametrize("name", TOLD)
async def test_what_is_in_the_way_is_told_until_it_is_gone(world, name):
    TOLD[name](world.settings.data_dir)
    await tell(world, pod("odd", "elsewhere"))
    await tell(world, pod("p"))
    async with world.node() as node:
        why = await eventually(lambda: waiting(world))
        assert "elsewhere" in why
        await eventually(world.ready)
        assert not node.done()
        for path in ("pods/elsewhere", "logs/pods/elsewhere/odd"):
            if (world.settings.data_dir / path).is_file():
                (world.settings.data_dir / path).unlink()
        await eventually(lambda: world.ready("odd", "elsewhere"))


async def test_a_container_that_puts_a_file_where_its_records_are_ends_as_any_other(world):
    async with world.node() as node:
        await tell(world, pod("odd", "elsewhere"))
        await tell(world, pod("p"))
        await eventually(lambda: world.ready("odd", "elsewhere"))
        shutil.rmtree(world.settings.data_dir / "pods" / "elsewhere" / "odd")
        (world.settings.data_dir / "pods" / "elsewhere" / "odd").write_bytes(b"")
        odd = await world.pod("odd", "elsewhere")
        odd["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
        await tell(world, odd)

        async def is_gone() -> bool:
            return await world.pod("odd", "elsewhere") is None

        await eventually(is_gone)
        assert await world.ready()
        assert not node.done()
        await tell(world, pod("odd", "elsewhere"))
        await eventually(lambda: world.ready("odd", "elsewhere"))


class Disk:
    """The disk below a folder: when it is full, nothing new is written to it, and what is written ends half way."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.is_full = folder, False
        write, make, open_ = Path.write_bytes, Path.mkdir, Path.open

        def write_bytes(path: Path, data: bytes) -> int:
            if self._has_no_room(path):
                write(path, data[: len(data) // 2])
                self._refuse(path)
            return write(path, data)

        def mkdir(path: Path, *args: Any, **more: Any) -> None:
            if self._has_no_room(path) and not path.exists():
                self._refuse(path)
            make(path, *args, **more)

        def opened(path: Path, mode: str = "r", *args: Any, **more: Any) -> Any:
            if self._has_no_room(path) and "a" in mode and not path.exists():
                self._refuse(path)
            return open_(path, mode, *args, **more)

        monkeypatch.setattr(Path, "write_bytes", write_bytes)
        monkeypatch.setattr(Path, "mkdir", mkdir)
        monkeypatch.setattr(Path, "open", opened)

    def _has_no_room(self, path: Path) -> bool:
        return self.is_full and path.is_relative_to(self.folder)

    def _refuse(self, path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@pytest.fixture
def disk(world: World, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(world.settings.data_dir, monkeypatch)


@pytest.mark.parametrize("volumes", [[], [{"name": "v", "emptyDir": {}}]])
async def test_a_pod_for_which_there_is_no_room_waits_for_it(world, disk, volumes):
    async with world.node() as node:
        await tell(world, pod("p"))
        await eventually(world.ready)
        disk.is_full = True
        await tell(world, pod("odd", "elsewhere", volumes=volumes))
        assert "No space left on device" in await eventually(lambda: waiting(world))
        assert await world.ready()
        disk.is_full = False
        await eventually(lambda: world.ready("odd", "elsewhere"))
        assert (world.settings.data_dir / "pods" / "elsewhere" / "odd" / ".uid").read_text() == "u1"
        assert not node.done()


async def test_what_happens_while_the_disk_is_full_is_told_and_written_when_it_is_not(world, disk):
    path = world.settings.data_dir / "pods" / "default" / "p" / "main.json"
    async with world.node() as node:
        await tell(world, pod("p", restartPolicy="Never"))
        await eventually(world.ready)
        before = path.read_bytes()
        disk.is_full = True
        (pid,) = [one for one in pids_in(world.settings.data_dir) if os.getpgid(one) == one]
        os.killpg(pid, signal.SIGKILL)

        async def has_failed() -> bool:
            return ((await world.pod()) or {})["status"]["phase"] == "Failed"

        await eventually(has_failed)
        assert path.read_bytes() == before  # whole, as it was
        disk.is_full = False
        await eventually(lambda: json.loads(path.read_bytes())["ending"])
        assert not node.done()
    async with world.node():
        await eventually(has_failed)


async def test_a_node_that_ends_on_a_full_disk_ends_its_pods(world, disk):
    async with world.node():
        await tell(world, pod("p"))
        await eventually(world.ready)
        disk.is_full = True
    assert pids_in(world.settings.data_dir) == []
    async with world.node() as node:
        disk.is_full = False
        await eventually(world.ready)
        assert not node.done()


async def test_a_node_on_a_full_disk_has_its_name_though_it_cannot_write_that_down(world, disk):
    world.settings.data_dir.joinpath("pods").mkdir(parents=True)
    disk.is_full = True
    async with world.node() as node:
        await tell(world, pod("odd", "elsewhere"))
        assert "No space left on device" in await eventually(lambda: waiting(world))
        assert not node.done()


def test_a_record_that_cannot_be_read_hides_no_other(tmp_path):
    for make in (has(RECORD, STATE), has("pods/elsewhere/odd/more.json", b"["), has("pods/elsewhere/x", b"")):
        make(tmp_path)
    records = Records(tmp_path)
    assert [str(id) for id in records.load()] == ["elsewhere/odd/main"]
    assert not (tmp_path / "pods/elsewhere/odd/more.json").exists()
    records.close()
