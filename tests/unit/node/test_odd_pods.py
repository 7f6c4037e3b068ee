"""What somebody wrote into a Pod ends no node: it is told, and the other Pods run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from matrixinfer.bus.contracts.cluster import object_key
from support.eventually import eventually

Body = dict[str, Any]
HUGE = 10**400
MOUNT = {"volumeMounts": [{"name": "v", "mountPath": "/data"}]}
LONG_NAME = "a." * 126 + "a"
"""Right for a Pod, and too long for a folder of most file systems, where a `.` takes three characters."""
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
    "a volume's name that leads elsewhere": pod(volumes=[{"name": "../../x", "emptyDir": {}}]),
    "a volume without a name": pod(volumes=[{"emptyDir": {}}]),
    "a container's name that leads elsewhere": pod(container={"name": "../../x"}),
    "a node that is a number": pod(nodeName=7),
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


DEEP = b'{"spec":' * 50_000 + b"1" + b"}" * 50_000


@pytest.mark.parametrize("value", [b"{", b"[]", b'{"metadata": 3}', b'{"status": [1]}', DEEP])
async def test_what_is_no_object_is_left_alone(world, value):
    async with world.node() as node:
        await world.store.put(object_key("Pod", "default", "odd"), value)
        await world.put(pod("p"))
        await eventually(world.ready)
        assert not node.done()


async def refusal(world, name: str = "odd") -> str:
    status = ((await world.pod(name)) or {}).get("status", {})
    return str(status.get("message", "")) if status.get("reason") == "BadPod" else ""


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"name": "../../x"}, "metadata.name is '../../x', expected a name in lower case"),
        ({"name": "other"}, "metadata name it default/other, and it is stored as default/odd"),
        ({"name": 7}, "metadata.name is 7"),
        ({"namespace": "other"}, "stored as default/odd"),
        ({"namespace": ["default"]}, "metadata.namespace is ['default']"),
        ({"uid": 7}, "metadata.uid is 7, expected text"),
    ],
)
async def test_a_pod_whose_metadata_are_odd_is_refused_under_the_name_it_is_stored_as(world, metadata, message):
    body = pod()
    body["metadata"] |= metadata
    async with world.node() as node:
        await world.store.put(object_key("Pod", "default", "odd"), json.dumps(body).encode())

        async def is_refused() -> bool:
            return message in await refusal(world)

        await eventually(is_refused)
        await world.put(pod("p"))
        await eventually(world.ready)
        assert not node.done()


@pytest.mark.parametrize("key", ["Pod.default", "Pod.default.a.b", "Pod.=zz.a"])
async def test_a_key_that_names_no_pod_is_left_alone(world, key):
    async with world.node() as node:
        await world.store.put(key, json.dumps(pod()).encode())
        await world.put(pod("p"))
        await eventually(world.ready)
        assert not node.done()


@pytest.mark.parametrize(
    "status",
    [
        {"conditions": 7},
        {"conditions": [7]},
        {"conditions": [{"type": 3}]},
        {"startTime": 5},
        {"containerStatuses": {"main": 1}},
        {"containerStatuses": [{"name": "main", "state": "on"}]},
        {"phase": ["Running"], "containerStatuses": [None]},
    ],
)
async def test_a_status_of_another_shape_is_replaced(world, status):
    async def is_replaced() -> bool:
        return (await world.pod("p") or {}).get("status") != status

    async with world.node() as node:
        await world.put(pod("p", {"readinessProbe": CHECK}) | {"status": status})
        await eventually(is_replaced)
        await eventually(world.ready)
        assert not node.done()
    found = await world.pod("p")
    assert found is not None
    assert isinstance(found["status"]["phase"], str)


async def test_a_pod_whose_folder_has_too_long_a_name_says_so_and_others_run(world):
    async def says_why() -> bool:
        statuses = ((await world.pod(LONG_NAME)) or {}).get("status", {}).get("containerStatuses", ())
        waiting = [one["state"].get("waiting", {}) for one in statuses]
        return any("cannot write down that it starts" in one.get("message", "") for one in waiting)

    async with world.node() as node:
        await world.put(pod(LONG_NAME))
        await eventually(says_why)
        await world.put(pod("p"))
        await eventually(world.ready)
        assert not node.done()
