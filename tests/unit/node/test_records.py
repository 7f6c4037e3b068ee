"""What a node finds on its disk, and what it does when nothing more fits there: neither ends it."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from matrixinfer.agents.node import records
from matrixinfer.agents.node.pods import ContainerId, PodId
from matrixinfer.agents.node.records import Records
from matrixinfer.agents.node.states import Process, first_life, replace_state
from support.eventually import eventually
from support.node import World, pids_in

MAIN = ContainerId(PodId("default", "p"), "main")
GOOD = {"uid": "u", "life": "l", "started_s": 1.0, "grace_s": 1.0}
DAMAGED = {
    "nothing": b"",
    "half of it": b'{"uid": "u", "li',
    "no JSON": b"\xff\xfe",
    "a list": b"[]",
    "endless": b"[" * 100_000,
    "a date that is none": json.dumps(GOOD | {"started_s": 1e300}).encode(),
    "the group of the node itself": json.dumps(GOOD | {"process": {"pid": 0, "created_s": 4e9}}).encode(),
    "the first process": json.dumps(GOOD | {"process": {"pid": 1, "created_s": 4e9}}).encode(),
}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Records]:
    held = Records(tmp_path)
    yield held
    held.close()


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_record_is_removed_and_the_others_are_read(own: Records, tmp_path: Path, name: str) -> None:
    state = replace_state(first_life("u", "l", 1.0, 1.0), process=Process(2, 1.0))
    own.save(MAIN, state)
    damaged = tmp_path / "pods" / "default" / "odd" / "main.json"
    damaged.parent.mkdir()
    damaged.write_bytes(DAMAGED[name])
    assert own.load() == {MAIN: state}
    assert not damaged.exists()


@pytest.mark.parametrize("path", ["default/odd/main.json", "default/odd/MAIN.json.json", "=zz/odd/main.json"])
def test_what_is_no_record_is_removed(own: Records, tmp_path: Path, path: str) -> None:
    found = tmp_path / "pods" / path
    found.mkdir(parents=True)
    (found / "x").touch()
    assert own.load() == {}
    assert not found.exists()


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_lease_is_none(own: Records, tmp_path: Path, name: str) -> None:
    (tmp_path / "pods" / ".lease").write_bytes(DAMAGED[name])
    assert own.load_lease() is None


def test_a_file_where_the_pods_folder_should_be_makes_room(own: Records, tmp_path: Path) -> None:
    (tmp_path / "pods" / "default").mkdir()
    (tmp_path / "pods" / "default" / "p").touch()
    own.make_room(MAIN.pod, "u")
    own.save(MAIN, first_life("u", "l", 1.0, 1.0))
    assert MAIN in own.load()


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files can be made, and nothing fits into them, as it is on a disk that is full."""

    def no_space(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(records, "_replace", no_space)
        yield


PodMaker = Callable[..., dict[str, Any]]


async def test_on_a_full_disk_nothing_starts_and_it_is_said_why_until_there_is_room(
    world: World, pod_document: PodMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def says_why() -> bool:
        statuses = ((await world.pod()) or {}).get("status", {}).get("containerStatuses", ())
        return any("No space left" in one["state"].get("waiting", {}).get("message", "") for one in statuses)

    async with world.node() as node:
        with full_disk(monkeypatch):
            await world.put(pod_document())
            await eventually(says_why)
            assert pids_in(world.settings.data_dir) == []
            assert not node.done()
        await eventually(world.ready)


async def test_what_ends_while_the_disk_is_full_is_written_down_when_there_is_room(
    world: World, pod_document: PodMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = world.settings.data_dir / "pods" / "default" / "p" / "main.json"
    script = "while [ ! -e end ]; do sleep 0.01; done; exit 3"

    async def has_failed() -> bool:
        return ((await world.pod()) or {}).get("status", {}).get("phase") == "Failed"

    def is_written() -> bool:
        ending = json.loads(record.read_bytes())["ending"]
        return ending is not None and ending["exit_code"] == 3

    async with world.node() as node:
        await world.put(pod_document("p", "sh", "-c", script, restartPolicy="Never"))
        await eventually(world.ready)
        with full_disk(monkeypatch):
            (record.parent / "work" / "end").touch()
            await eventually(has_failed)
            assert not is_written()
            assert not node.done()
        await eventually(is_written)
