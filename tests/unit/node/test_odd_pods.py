"""What somebody wrote into a Pod ends no node: it is told, and the other Pods run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.agents.node.backoff import Backoff
from matrixinfer.agents.node.plan import plan
from matrixinfer.agents.node.pods import PodId
from matrixinfer.agents.node.prober import health_told
from matrixinfer.agents.node.reading import Seen, read_entry
from matrixinfer.agents.node.states import first_life
from matrixinfer.agents.node.status import pod_status, refusal_status
from matrixinfer.bus.contracts.cluster import object_key
from matrixinfer.bus.errors import TooLarge
from matrixinfer.bus.ports import Entry
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
    "a variable with a sign": pod(container={"env": [{"name": "A=B", "value": "x"}]}),
    "a variable that is a word": pod(container={"env": ["A=B"]}),
    "a source that is a word": pod(container={"env": [{"name": "A", "valueFrom": "x"}]}),
    "a command that is a word": pod(container={"command": "sleep 60"}),
    "a command of lists": pod(container={"command": [["sleep"], "60"]}),
    "a container that is a word": pod(initContainers=["main"]),
    "containers that are none": pod(containers={"main": {}}),
    "a spec that is a list": pod() | {"spec": [1]},
    "labels that are a list": pod() | {"metadata": pod()["metadata"] | {"labels": ["a"]}},
    "a volume that is a word": volume({"emptyDir": {}}) | pod(volumes=["v"]),
    "a volume that leads out": pod(
        container={"volumeMounts": [{"name": "../../../x", "mountPath": "/data"}]},
        volumes=[{"name": "../../../x", "emptyDir": {}}],
    ),
    "a claim that leads out": volume({"persistentVolumeClaim": {"claimName": "../../x"}}),
    "a grace that is no number": pod(terminationGracePeriodSeconds="nan"),
    "a period that is no number": pod(container={"readinessProbe": CHECK | {"periodSeconds": "nan"}}),
    "a period of nothing": pod(container={"readinessProbe": CHECK | {"periodSeconds": -1}}),
    "a number beyond all": pod(container={"livenessProbe": CHECK | {"periodSeconds": 10**300}}),
    "two actions in one probe": pod(container={"livenessProbe": CHECK | {"tcpSocket": {"port": 1}}}),
    "a port beyond all": pod(container={"livenessProbe": {"tcpSocket": {"port": 65536}}}),
    "a name of the container that is too long": pod(container={"name": "a" * 300}),
    "a name of the container that is a number": pod(container={"name": 7}),
    "a uid that is a number": pod() | {"metadata": pod()["metadata"] | {"uid": 7}},
    "a name that is not its own": pod() | {"metadata": pod()["metadata"] | {"name": "p"}},
    "a name that leads out": pod() | {"metadata": pod()["metadata"] | {"name": ".."}},
    "a namespace that is a list": pod() | {"metadata": pod()["metadata"] | {"namespace": ["default"]}},
    "metadata that are none": pod() | {"metadata": 3},
    "half a character in the command": pod(container={"command": ["echo", "\ud800"]}),
    "half a character in an argument": pod(container={"args": ["\udfff"]}),
    "half a character in a value": pod(container={"env": [{"name": "A", "value": "\ud800"}]}),
    "half a character in a name": pod(container={"env": [{"name": "\ud800", "value": "x"}]}),
    "half a character in a folder": pod(container={"workingDir": "/\ud800"}),
    "half a character in a label": pod() | {"metadata": pod()["metadata"] | {"labels": {"a": "\ud800"}}},
    "half a character in an annotation": pod() | {"metadata": pod()["metadata"] | {"annotations": {"\ud800": "a"}}},
    "half a character in the uid": pod() | {"metadata": pod()["metadata"] | {"uid": "\ud800"}},
    "a number that is none": pod(container={"x": float("nan")}),
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
    async def says_why() -> str:
        status = ((await world.pod("odd")) or {}).get("status", {})
        if status.get("reason") == "BadPod":
            return status["message"]
        waiting = [one["state"].get("waiting", {}) for one in status.get("containerStatuses", ())]
        return next((one["message"] for one in waiting if one.get("reason", "").startswith("CreateContainer")), "")

    async with world.node() as node:
        await world.store.put(object_key("Pod", "default", "odd"), json.dumps(ODD[name]).encode())
        why = await eventually(says_why)
        assert not re.search("Error:|object has no|NoneType", why), why
        await world.put(pod("p"))
        await eventually(world.ready)
        assert not node.done()
    async with world.node() as successor:
        await eventually(world.ready)
        assert not successor.done()


async def test_a_pod_is_told_where_the_half_character_is_and_its_object_stays_as_it_was(world):
    document = pod(container={"args": ["\ud800"]})
    async with world.node():
        await world.put(document)
        told = await eventually(lambda: world.told("odd"))
    assert "spec.containers[0].args[0]: expected text, got half a character" in told["message"]
    assert await world.pod("odd") == document | {"status": told}


NAMES = ["..", "/", "a/../../b", " ", "a\nb", "\0", "名前", "a" * 255, "-rf", ".lock", ".uid"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_that_a_path_would_not_take_as_it_is_leads_nowhere_else(world, name):
    odd = pod(name, restartPolicy="Never", container={"command": ["sh", "-c", "pwd; sleep 60"]})
    odd["metadata"] |= {"namespace": name, "uid": name}
    async with world.node() as node:
        await world.put(odd)
        await world.put(pod("p"))
        await eventually(lambda: world.ready(name, name))
        await eventually(world.ready)
        folder = world.settings.data_dir
        (log,) = [one for one in folder.glob("logs/pods/*/*/main.log") if one.parent.name != "p"]
        said = await eventually(log.read_text)
        assert not node.done()
    assert {one.name for one in folder.iterdir()} == {"pods", "logs"}
    assert Path(said.strip()).parent.parent.parent == folder / "pods"


@pytest.mark.parametrize("name", ["a" * 256, "." * 100])
async def test_a_name_that_no_folder_can_have_is_refused(world, name):
    async with world.node() as node:
        await world.put(pod(name))
        await world.put(pod("p"))
        await eventually(world.ready)
        told = await eventually(lambda: world.told(name))
        assert told["reason"] == "BadPod"
        assert "expected at most 255" in told["message"]
        assert not node.done()


STATUSES: dict[str, Any] = {
    "a list": [1],
    "a word": "Running",
    "no conditions": {"conditions": None, "containerStatuses": None},
    "conditions that are none": {"conditions": {"type": "Ready"}},
    "conditions of words": {"conditions": ["Ready", None, 3, {"type": ["Ready"]}]},
    "conditions without times": {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": [1]}]},
    "container statuses that are none": {"containerStatuses": 3, "initContainerStatuses": "x"},
    "container statuses of words": {"containerStatuses": ["main", None, {"name": "main", "state": []}]},
    "a state that runs in words": {"containerStatuses": [{"name": "main", "state": {"running": "yes"}}]},
    "a phase that is a number": {"phase": 7, "startTime": {"a": 1}},
}


@pytest.mark.parametrize("name", STATUSES)
@pytest.mark.parametrize("is_bad", [False, True])
async def test_an_odd_status_is_replaced_by_what_is_so(world, name, is_bad):
    probed = {"readinessProbe": CHECK | {"periodSeconds": 0.05}}
    document = pod("odd", container={"command": []} if is_bad else probed) | {"status": STATUSES[name]}
    async with world.node() as node:
        await world.put(document)
        await world.put(pod("p"))
        await eventually(world.ready)
        if is_bad:
            told = await eventually(lambda: world.told("odd"))
            assert "no command" in told["message"]
        else:
            await eventually(lambda: world.ready("odd"))
        found = (await world.pod("odd"))["status"]
        assert isinstance(found["startTime"], str)
        assert all(isinstance(one["lastTransitionTime"], str) for one in found["conditions"])
        assert not node.done()


NONE_AT_ALL = [
    b"{",
    b"[]",
    b"\xff",
    b"[" * 100_000,
    b'{"spec": ' + b"[" * 100_000,
    b'{"status": ' + b'{"a":' * 100_000,
    b'{"spec": ' + b"1" * 5000 + b"}",
]


@pytest.mark.parametrize("value", NONE_AT_ALL, ids=range(len(NONE_AT_ALL)))
@pytest.mark.parametrize("is_there", [True, False], ids=["before", "meanwhile"])
async def test_what_is_no_object_is_left_alone(world, value, is_there):
    if is_there:
        await world.store.put(object_key("Pod", "default", "odd"), value)
    async with world.node() as node:
        await world.store.put(object_key("Pod", "default", "odd"), value)
        await world.put(pod("p"))
        await eventually(world.ready)
        assert not node.done()


@pytest.mark.parametrize("key", ["Pod.default", "Pod.default.a.b", "Pod.default.=zz", "Pod.default.=FF"])
async def test_what_lies_under_a_key_that_is_no_pods_is_left_alone(world, key):
    await world.store.put(key, json.dumps(pod()).encode())
    async with world.node() as node:
        await world.store.put(key, json.dumps(pod("other")).encode())
        await world.put(pod("p"))
        await eventually(world.ready)
        assert not node.done()


async def test_a_status_that_is_too_large_for_its_object_keeps_no_other_from_being_told(world, monkeypatch):
    await world.put(pod(nodeName="local"))
    put = world.store.put

    async def bounded(key: str, value: bytes, **more: Any) -> int:
        if key == object_key("Pod", "default", "odd"):
            raise TooLarge("too large")
        return await put(key, value, **more)

    monkeypatch.setattr(world.store, "put", bounded)
    world.bus = replace(world.bus, store=lambda _: world.store)
    async with world.node() as node:
        await world.put(pod("p"))
        await eventually(world.ready)
        assert not node.done()


_NUMBERS = st.sampled_from([True, 0, -1, 7, 2**70, 10**400, 0.5, 1e300])
_WORDS = st.sampled_from(["", "x", "nan", "\0", "a" * 300, ".."])
_LISTS = st.sampled_from([[], [1], [None], ["a"], [[]], [{}]])
_OBJECTS = st.sampled_from([{}, {"a": 1}, {"name": "x"}, {"exec": 1}, {"command": 1}])
_ODDITIES = st.none() | _NUMBERS | _WORDS | _LISTS | _OBJECTS
_WHOLE = pod(
    container={
        "env": [{"name": "A", "value": "x"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "envFrom": [{"secretRef": {"name": "s", "optional": True}}],
        "ports": [{"name": "http", "containerPort": 80}],
        "workingDir": "/tmp",
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}, "postStart": CHECK, "stopSignal": "SIGINT"},
        "livenessProbe": {"httpGet": {"port": "http", "httpHeaders": [{"name": "a", "value": "b"}]}},
        "readinessProbe": CHECK | {"periodSeconds": 1, "failureThreshold": 2},
    }
    | MOUNT,
    volumes=[{"name": "v", "emptyDir": {}}],
    initContainers=[{"name": "first", "command": ["true"], "restartPolicy": "Always"}],
    terminationGracePeriodSeconds=3,
) | {
    "status": {
        "phase": "Running",
        "startTime": "2030-01-01T00:00:00Z",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2030-01-01T00:00:00Z"}],
        "containerStatuses": [{"name": "main", "state": {"running": {"startedAt": "2030-01-01T00:00:00Z"}}}],
    }
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Of all that is in a JSON value, itself not counted."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [one for name, part in inner for one in ((*path, name), *places(part, (*path, name)))]


def changed(value: Any, path: tuple[Any, ...], to: object) -> Any:
    """`value` with something else at `path`, where there is such a place."""
    if not path:
        return to
    first, rest = path[0], path[1:]
    if isinstance(value, dict) and isinstance(first, str):
        return value | {first: changed(value.get(first), rest, to)}
    if isinstance(value, list) and isinstance(first, int):
        return [changed(one, rest, to) if index == first else one for index, one in enumerate(value)]
    return value


@settings(max_examples=500)
@given(st.lists(st.tuples(st.sampled_from(places(_WHOLE)), _ODDITIES), min_size=1, max_size=3))
def test_whatever_a_pod_says_it_is_read_planned_and_told_or_refused(changes):
    document = _WHOLE
    for path, oddity in changes:
        document = changed(document, path, oddity)
    seen = read_entry(PodId("default", "odd"), Entry("", json.dumps(document).encode(), 1))
    assert isinstance(seen, Seen)
    if seen.pod is None:
        told = refusal_status(seen.document, seen.refusal, 1.7e9)
        assert not re.search("Error:|object has no|NoneType", told["message"]), told["message"]
    else:
        pod_, state = seen.pod, first_life(seen.pod.uid, "life", seen.pod.grace_s, 1.7e9)
        assert plan({pod_.id: pod_}, {}, Backoff(), 1.7e9)
        for container in pod_.all_containers:
            health_told(pod_, container, state)
        told = pod_status(pod_, {}, is_ready=False, backoff=Backoff(), now=1.7e9)
    json.dumps(told, allow_nan=False).encode()
