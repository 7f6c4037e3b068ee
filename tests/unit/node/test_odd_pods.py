"""What somebody wrote into a Pod ends no node: it is told, and the other Pods run."""

from __future__ import annotations

from typing import Any

import pytest

from matrixinfer.bus.contracts.cluster import object_key
from support.eventually import eventually

Body = dict[str, Any]
HUGE = 10**400
MOUNT = {"volumeMounts": [{"name": "v", "mountPath": "/data"}]}
CHECK = {"exec": {"command": ["true"]}}


def pod(name: str = "odd", container: Body | None = None, **spec: Any) -> Body:
    """Any: fields of a Pod's spec."""
    metadata = {"name": name, "namespace": "default", "uid": name, "labels": {}}
    main = {"name": "main", "command": ["sleep", "60"]} | (container or {})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [main]} | spec}


def volume(source: Body, **more: Any) -> Body:
    mounted = {"volumeMounts": [MOUNT["volumeMounts"][0] | more]}
    return pod(container=mounted, volumes=[{"name": "v"} | source])


ODD = {
    "a home that nobody has": volume({"hostPath": {"path": "~nobody-of-this-name/x"}}),
    "a name that is too long": volume({"emptyDir": {}}, subPath="a" * 300),
    "no source": volume({"hostPath": None}),
    "a huge grace": pod(terminationGracePeriodSeconds=HUGE),
    "a huge delay": pod(container={"readinessProbe": CHECK | {"initialDelaySeconds": HUGE}}),
    "a probe that is a word": pod(container={"readinessProbe": "yes"}),
    "a folder with a NUL": pod(container={"workingDir": "/a\0b"}),
    "a variable without a name": pod(container={"env": [{"value": "x"}]}),
    "half a character": pod(container={"command": ["echo", "\ud800"]}),
    "its own folder made a file": pod(
        container={"command": ["sh", "-c", "cd ..; rm -rf work; touch work; exit 1"]}, restartPolicy="OnFailure"
    ),
    "its volume made a file": pod(
        container={"command": ["sh", "-c", "rm -rf /data; touch /data; exit 1"]} | MOUNT,
        volumes=[{"name": "v", "emptyDir": {}}],
    ),
}


@pytest.mark.parametrize("name", ODD)
async def test_a_pod_that_cannot_run_says_so_and_others_run(world, name):
    async def says_why() -> bool:
        status = ((await world.pod("odd")) or {}).get("status", {})
        if status.get("reason") == "BadPod":
            return True
        waiting = [one["state"].get("waiting", {}) for one in status.get("containerStatuses", ())]
        return any(one.get("reason", "").startswith("CreateContainer") for one in waiting)

    async with world.node() as node:
        await world.put(ODD[name])
        if name != "half a character":  # such a text is no JSON: it cannot be told anything
            await eventually(says_why)
        await world.put(pod("p"))
        await eventually(world.ready)
        assert not node.done()
    async with world.node() as successor:
        await eventually(world.ready)
        assert not successor.done()


@pytest.mark.parametrize("value", [b"{", b"[]", b'{"metadata": 3}', b'{"status": [1]}'])
async def test_what_is_no_object_is_left_alone(world, value):
    async with world.node() as node:
        await world.store.put(object_key("Pod", "default", "odd"), value)
        await world.put(pod("p"))
        await eventually(world.ready)
        assert not node.done()
