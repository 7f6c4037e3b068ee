"""The whole node on the memory bus, with real small processes."""

from __future__ import annotations

import os
import signal

import psutil

from matrixinfer.bus.contracts.cluster import object_key
from matrixinfer.bus.contracts.codec import encode
from matrixinfer.bus.contracts.load import LoadEvent
from support.eventually import eventually
from support.node import World, pids_in


async def test_a_pod_is_claimed_started_reported_and_removed_after_its_deletion(world: World, pod_document) -> None:
    async with world.node():
        await world.put(pod_document())
        await eventually(world.ready)
        pod = await world.pod()
        assert pod is not None
        assert pod["spec"]["nodeName"] == "local"
        assert pod["status"]["phase"] == "Running"
        [pid] = pids_in(world.settings.data_dir)
        await world.mark_deleted()
        await eventually(lambda: _is_gone(world))
        assert not psutil.pid_exists(pid)


async def _is_gone(world: World) -> bool:
    return await world.pod() is None


async def test_a_pod_of_another_node_is_left_alone(world: World, pod_document) -> None:
    async with world.node():
        await world.put(pod_document("other", nodeName="elsewhere"))
        await world.put(pod_document("p"))
        await eventually(world.ready)
        other = await world.pod("other")
        assert other is not None
        assert "status" not in other
        assert len(pids_in(world.settings.data_dir)) == 1


async def test_a_pod_with_an_agent_is_ready_only_while_its_agent_is_heard(world: World, pod_document) -> None:
    document = pod_document()
    document["metadata"]["labels"]["matrixinfer.ai/agent"] = "true"

    async def beat(sequence: int, draining: bool = False) -> None:
        event = LoadEvent("default", "p", "boot", sequence, draining=draining)
        await world.bus.signals.publish(world.bus.subjects.load("default", "p"), encode(event))

    async with world.node():
        await world.put(document)
        await eventually(lambda: pids_in(world.settings.data_dir))
        await eventually(lambda: _phase(world, "Running"))
        assert not await world.ready()
        await beat(1)
        await eventually(world.ready)
        await eventually(lambda: _not_ready(world))  # silence
        await beat(2)
        await eventually(world.ready)
        await beat(3, draining=True)
        await eventually(lambda: _not_ready(world))


async def _phase(world: World, phase: str) -> bool:
    pod = await world.pod()
    return pod is not None and pod.get("status", {}).get("phase") == phase


async def _not_ready(world: World) -> bool:
    return not await world.ready()


async def test_a_killed_process_is_started_again_and_shows_as_restarted(world: World, pod_document) -> None:
    async with world.node():
        await world.put(pod_document())
        await eventually(world.ready)
        [pid] = pids_in(world.settings.data_dir)
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: pids_in(world.settings.data_dir) not in ([], [pid]))

        async def restarts() -> bool:
            pod = await world.pod()
            return pod is not None and pod["status"]["containerStatuses"][0]["restartCount"] == 1

        await eventually(restarts)
        await eventually(world.ready)


async def test_a_pod_that_cannot_run_is_reported_as_failed_and_can_be_deleted(world: World, pod_document) -> None:
    document = pod_document()
    document["spec"]["containers"][0]["command"] = []
    async with world.node():
        await world.put(document)
        await eventually(lambda: _phase(world, "Failed"))
        pod = await world.pod()
        assert pod is not None
        assert "no command" in pod["status"]["message"]
        await world.mark_deleted()
        await eventually(lambda: _is_gone(world))


async def test_a_stopping_node_ends_its_pods_and_the_next_one_starts_them_anew(world: World, pod_document) -> None:
    async with world.node():
        await world.put(pod_document())
        await eventually(world.ready)
    assert pids_in(world.settings.data_dir) == []
    assert not await world.ready()
    async with world.node():
        await eventually(world.ready)
        pod = await world.pod()
        assert pod is not None
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


async def test_pods_may_outlive_a_stopping_node_and_are_adopted(world: World, pod_document) -> None:
    async with world.node(stop_pods_on_exit=False):
        await world.put(pod_document())
        await eventually(world.ready)
        before = pids_in(world.settings.data_dir)
    assert pids_in(world.settings.data_dir) == before
    async with world.node():
        await eventually(world.ready)
        assert pids_in(world.settings.data_dir) == before


async def test_a_pod_deleted_while_no_node_ran_is_ended_by_the_next_one(world: World, pod_document) -> None:
    async with world.node(stop_pods_on_exit=False):
        await world.put(pod_document())
        await eventually(world.ready)
    await world.store.delete(object_key("Pod", "default", "p"))
    async with world.node():
        await eventually(lambda: pids_in(world.settings.data_dir) == [])
