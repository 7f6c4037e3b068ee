"""Lives of containers over the stops and deaths of their nodes, as real processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from matrixinfer.agents.node.errors import NodeTaken
from matrixinfer.agents.node.main import serve
from support.eventually import eventually
from support.node import World, pids_in

Body = dict[str, Any]
QUIET_S = 0.4
"""Long enough for what must not happen: some forty turns of the node."""


def pod(*containers: Body, init: tuple[Body, ...] = (), name: str = "p", uid: str = "u1", **spec: Any) -> Body:
    """Any: fields of a Pod's spec. Its node is known, as of one that ran before."""
    metadata = {"name": name, "namespace": "default", "uid": uid, "labels": {}}
    own = {"containers": list(containers), "initContainers": list(init), "nodeName": "local"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": own | spec}


def shell(name: str, script: str, **more: Any) -> Body:
    """Any: fields of a container."""
    return {"name": name, "command": ["sh", "-c", script]} | more


def run(script: str, **more: Any) -> Body:
    return {"exec": {"command": ["sh", "-c", script]}} | more


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


async def ends(world: World, name: str = "p") -> None:
    async def is_gone() -> bool:
        return await world.pod(name) is None

    await world.mark_deleted(name)
    await eventually(is_gone)


@contextlib.asynccontextmanager
async def left_running(world: World) -> AsyncIterator[None]:
    """A node whose containers go on when it is gone."""
    async with world.node(stop_pods_on_exit=False):
        yield


async def test_a_clean_stop_starts_nothing_again(world, tmp_path):
    """Not even when a probe has news, or a hook ends, while containers end."""
    starts = tmp_path / "starts"
    quick = shell("quick", f"echo x >> {starts}; exec sleep 60")
    slow = shell(
        "slow",
        "trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.02; done",
        readinessProbe=run(f"test $(cat {tmp_path}/n 2>/dev/null || echo 0) = 0", periodSeconds=0.02),
        lifecycle={"preStop": run(f"echo 1 > {tmp_path}/n; sleep 0.1")},
    )
    async with world.node():
        await world.put(pod(quick, slow))
        await eventually(world.ready)
        await eventually(lambda: lines(starts) == 1)
    assert lines(starts) == 1
    await eventually(lambda: not pids_in(world.settings.data_dir))


async def test_a_pod_is_not_ready_while_the_node_ends_it(world, tmp_path):
    """Requests are sent to what is ready."""
    async with stopping(world, tmp_path / "starts") as node:
        await eventually(not_ready(world))
        assert not node.done()
        end_processes(world)


async def test_a_node_that_ends_its_pods_still_has_its_name(world, tmp_path):
    """Another one would start the very same Pods."""
    starts, other = tmp_path / "starts", World(tmp_path / "other")
    other.bus, other.store = world.bus, world.store
    async with stopping(world, starts, lease_ttl_s=1.0) as node:
        with pytest.raises(NodeTaken):
            async with asyncio.timeout(20.0):
                await serve(other.settings.model_copy(update={"lease_ttl_s": 1.0}), other.bus, asyncio.Event())
        assert not node.done()
        end_processes(world)
    assert lines(starts) == 1


async def test_a_node_that_ends_its_pods_takes_no_new_ones(world, tmp_path):
    async with stopping(world, tmp_path / "starts"):
        new = pod(shell("main", "sleep 60"), name="new", nodeName="")
        await world.put(new)
        await eventually(not_ready(world))
        await asyncio.sleep(QUIET_S)
        assert await world.pod("new") == new
        end_processes(world)


@contextlib.asynccontextmanager
async def stopping(world: World, starts: Path, **changes: Any) -> AsyncIterator[asyncio.Task[None]]:
    """A node that was told to stop, and ends a Pod that takes its time. Any: settings."""
    stop, settings = asyncio.Event(), world.settings.model_copy(update={"exit_grace_s": 60.0} | changes)
    node = asyncio.create_task(serve(settings, world.bus, stop))
    await world.put(pod(shell("main", f"trap '' TERM; echo x >> {starts}; while :; do sleep 0.02; done")))
    await eventually(world.ready)
    await eventually(lambda: lines(starts) == 1)
    stop.set()
    try:
        yield node
    finally:
        end_processes(world)
        await node


def not_ready(world: World) -> Callable[[], Awaitable[bool]]:
    async def is_unready() -> bool:
        return not await world.ready()

    return is_unready


def end_processes(world: World) -> None:
    for pid in pids_in(world.settings.data_dir):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def test_an_adopted_container_that_has_not_started_is_waited_for(world, tmp_path):
    up, later = tmp_path / "up", tmp_path / "later"
    beside = shell(
        "beside",
        "sleep 60",
        restartPolicy="Always",
        startupProbe=run(f"test -e {up}", periodSeconds=0.02, failureThreshold=999),
    )
    main = shell("main", f"echo x >> {later}; sleep 60")
    async with left_running(world):
        await world.put(pod(main, init=(beside,)))
        await eventually(lambda: pids_in(world.settings.data_dir))
    async with world.node():
        await asyncio.sleep(QUIET_S)
        assert not later.exists()
        up.touch()
        await eventually(world.ready)
        await eventually(lambda: lines(later) == 1)


async def test_a_post_start_runs_once_in_a_life_and_the_pod_is_not_ready_before(world, tmp_path):
    ran, may_go = tmp_path / "ran", tmp_path / "may-go"
    hook = run(f"echo x >> {ran}; while ! test -e {may_go}; do sleep 0.02; done")
    async with left_running(world):
        await world.put(pod(shell("main", "sleep 60", lifecycle={"postStart": hook})))
        await eventually(lambda: lines(ran) == 1)
        await asyncio.sleep(QUIET_S)
        assert not await world.ready()
        may_go.touch()
        await eventually(world.ready)
    async with world.node():
        await asyncio.sleep(QUIET_S)
        assert await world.ready()
        assert lines(ran) == 1


async def test_a_container_in_its_post_start_can_be_ended(world):
    async with world.node():
        await world.put(pod(shell("main", "sleep 60", lifecycle={"postStart": run("sleep 60")})))
        await eventually(lambda: len(pids_in(world.settings.data_dir)) > 1)
        await ends(world)
        await eventually(lambda: not pids_in(world.settings.data_dir))


async def test_a_pre_stop_ends_with_its_container_at_the_latest(world, tmp_path):
    own, hook = tmp_path / "own", tmp_path / "hook"
    main = shell("main", f"echo $$$$ > {own}; exec sleep 60", lifecycle={"preStop": run(f"echo x > {hook}; sleep 60")})

    async def is_gone() -> bool:
        return await world.pod() is None

    async with world.node() as node:
        await world.put(pod(main, terminationGracePeriodSeconds=60))
        await eventually(lambda: lines(own) == 1)
        await world.mark_deleted()
        await eventually(lambda: lines(hook) == 1)
        os.kill(int(own.read_text()), signal.SIGKILL)
        await eventually(is_gone)
        await eventually(lambda: not pids_in(world.settings.data_dir))
        assert not node.done()


async def test_a_node_that_stops_gives_a_pre_stop_its_own_limit(world):
    main = shell("main", "sleep 60", lifecycle={"preStop": run("sleep 60")})
    began_s = time.monotonic()
    async with world.node(exit_grace_s=0.5):
        await world.put(pod(main, terminationGracePeriodSeconds=60))
        await eventually(world.ready)
    assert time.monotonic() - began_s < 30, "and not the 60 s of the Pod"
    await eventually(lambda: not pids_in(world.settings.data_dir))


async def test_a_volume_is_as_old_as_its_pod(world):
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/data"}]}
    volumes = [{"name": "v", "emptyDir": {}}]
    main = shell("main", "echo x >> /data/starts; exec sleep 60", **mount)

    def starts() -> list[int]:
        return [lines(path) for path in world.settings.data_dir.glob("pods/*/*/volumes/v/starts")]

    async with world.node():
        await world.put(pod(main, volumes=volumes))
        await eventually(lambda: starts() == [1])
    assert starts() == [1], "the node stopped, the Pod is there"
    async with world.node():
        await eventually(lambda: starts() == [2])
        await ends(world)
        assert starts() == []
        await world.put(pod(main, volumes=volumes, uid="u2"))
        await eventually(lambda: starts() == [1])
    await world.put(pod(main, volumes=volumes, uid="u3"))
    async with world.node():
        await eventually(lambda: starts() == [1], timeout_s=2.0)
    await world.store.delete("Pod.default.p")
    async with world.node():
        await eventually(lambda: starts() == [], timeout_s=2.0)


async def test_a_volume_goes_with_a_pod_that_was_deleted_while_no_node_was_here(world):
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/data"}]}
    main = shell("main", "echo x > /data/there; exec sleep 60", **mount)

    def volumes() -> list[Path]:
        return list(world.settings.data_dir.glob("pods/*/*/volumes/v/there"))

    async def is_gone() -> bool:
        return await world.pod() is None

    async with world.node():
        await world.put(pod(main, volumes=[{"name": "v", "emptyDir": {}}]))
        await eventually(volumes)
    await world.mark_deleted()
    async with world.node():
        await eventually(is_gone)
        assert not volumes()


async def test_what_had_ended_before_the_node_stopped_has_ended_for_the_next_one(world, tmp_path):
    """The node's stop ends what runs; what its probe ended for good, or went with its Pod's end, is over."""
    starts = tmp_path / "starts"
    died = {"livenessProbe": run(f"! test -s {starts}", periodSeconds=0.02)}
    beside = shell("beside", "exec sleep 60", restartPolicy="Always")
    main = shell("main", f"echo x >> {starts}; exec sleep 60", **died)

    async def is_over() -> bool:
        return await phase(world) == "Failed"

    async with world.node():
        await world.put(pod(main, init=(beside,), restartPolicy="Never"))
        await eventually(is_over)
        before = ((await world.pod()) or {})["status"]
    async with world.node():
        await asyncio.sleep(QUIET_S)
        assert lines(starts) == 1
        assert ((await world.pod()) or {})["status"] == before


async def test_a_first_life_is_not_believed_what_was_told_of_another(world):
    """A stop that could not be reported leaves behind that all was well."""
    told = {"name": "main", "ready": True, "started": True, "restartCount": 0}
    told["state"] = {"running": {"startedAt": "2020-01-01T00:00:00Z"}}
    never = run("exit 1", periodSeconds=0.05, failureThreshold=999)
    async with world.node():
        body = pod(shell("main", "sleep 60", startupProbe=never))
        await world.put(body | {"status": {"containerStatuses": [told]}})
        await eventually(lambda: pids_in(world.settings.data_dir))
        await asyncio.sleep(QUIET_S)
        assert not await world.ready()


async def test_what_a_dead_container_left_behind_is_ended_by_the_next_node(world, tmp_path):
    """Its environment is no mark any more; its group is."""
    left = tmp_path / "left"
    script = (
        f"env -i sh -c 'echo $$$$ > {left}; exec sleep 300' & while ! test -s {left}; do sleep 0.01; done; sleep 300"
    )
    async with left_running(world):
        await world.put(pod(shell("main", script), restartPolicy="Never"))
        await eventually(world.ready)
        await eventually(lambda: lines(left) == 1)
    orphan = psutil.Process(int(left.read_text()))
    [leader] = [pid for pid in pids_in(world.settings.data_dir) if os.getpgid(pid) == pid]
    psutil.Process(leader).send_signal(signal.SIGKILL)
    assert orphan.is_running()
    async with world.node():
        await eventually(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE)


async def test_what_left_the_group_of_a_dead_container_is_ended_by_the_next_node(world, tmp_path):
    """Its environment still tells whose it was."""
    left = tmp_path / "left"
    script = f"setsid sh -c 'echo $$$$ > {left}; exec sleep 300' & exec sleep 300"
    async with left_running(world):
        await world.put(pod(shell("main", script), restartPolicy="Never"))
        await eventually(lambda: lines(left) == 1)
    stray = int(left.read_text())
    for pid in pids_in(world.settings.data_dir):
        if pid != stray:
            os.kill(pid, signal.SIGKILL)
    assert psutil.pid_exists(stray)
    async with world.node():
        await eventually(lambda: not pids_in(world.settings.data_dir))


async def test_what_left_the_group_goes_with_its_container(world, tmp_path):
    """As with Kubernetes, whatever began it anew: the next life does not meet it."""
    left = tmp_path / "left"
    script = f"setsid sh -c 'echo $$$$ >> {left}; exec sleep 300' & while ! test -s {left}; do sleep 0.01; done; exit 1"
    async with world.node():
        await world.put(pod(shell("main", script), shell("other", "exec sleep 60"), restartPolicy="Never"))
        await eventually(lambda: lines(left) == 1)
        await eventually(lambda: len(pids_in(world.settings.data_dir)) == 1)
        assert int(left.read_text()) not in pids_in(world.settings.data_dir)


async def test_a_container_is_asked_to_end_by_the_signal_that_it_names(world, tmp_path):
    told = tmp_path / "told"
    script = (
        f"trap 'echo TERM > {told}; exit 0' TERM; trap 'echo INT > {told}; exit 0' INT; while :; do sleep 0.02; done"
    )
    async with world.node():
        await world.put(pod(shell("main", script, lifecycle={"stopSignal": "SIGINT"})))
        await eventually(world.ready)
        await asyncio.sleep(QUIET_S)  # the shell sets its traps
        await ends(world)
        assert told.read_text() == "INT\n"


async def phase(world: World) -> str:
    return str(((await world.pod()) or {}).get("status", {}).get("phase", ""))


@pytest.mark.parametrize("script", ["exit 0", "exit 3"])
async def test_a_pod_is_over_when_its_sidecars_have_ended_too(world, tmp_path, script):
    may_go = tmp_path / "may-go"
    beside = shell(
        "beside",
        f"trap 'while ! test -e {may_go}; do sleep 0.02; done; exit 0' TERM; while :; do sleep 0.02; done",
        restartPolicy="Always",
    )

    async def has_ended() -> bool:
        status = ((await world.pod()) or {}).get("status", {})
        return any("terminated" in one["state"] for one in status.get("containerStatuses", ()))

    async def is_over() -> bool:
        return await phase(world) == ("Succeeded" if script == "exit 0" else "Failed")

    async with world.node():
        await world.put(pod(shell("main", f"sleep 0.1; {script}"), init=(beside,), restartPolicy="Never"))
        await eventually(has_ended)
        await asyncio.sleep(QUIET_S)
        assert await phase(world) == "Running"
        may_go.touch()
        await eventually(is_over)
        [one] = ((await world.pod()) or {})["status"]["initContainerStatuses"]
        assert "terminated" in one["state"]
