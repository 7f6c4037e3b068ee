"""Reading Pods, and what a container's process is given."""

from __future__ import annotations

import pytest

from matrixinfer.agents.node.environment import LIFE_VARIABLE, Machine, command_line, environment, told_environment
from matrixinfer.agents.node.errors import BadConfiguration, BadPod
from matrixinfer.agents.node.pods import PodId, read_pod


def test_defaults_are_those_of_kubernetes(pod_document) -> None:
    pod = read_pod(pod_document())
    assert (pod.id, pod.restart_policy, pod.grace_s, pod.node) == (PodId("default", "p"), "Always", 30.0, "")
    assert not pod.is_deleting
    assert not pod.has_agent


def test_the_grace_of_the_deletion_wins_over_that_of_the_spec(pod_document) -> None:
    document = pod_document(terminationGracePeriodSeconds=20)
    assert read_pod(document).grace_s == 20.0
    document["metadata"] |= {"deletionTimestamp": "2030-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0}
    pod = read_pod(document)
    assert pod.is_deleting
    assert pod.grace_s == 0.0


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"containers": []}, "at least one container"),
        ({"containers": [{"name": "a"}]}, "no command"),
        ({"containers": [{"command": ["x"]}]}, "no name"),
        ({"containers": [{"name": "a", "command": ["x"]}] * 2}, "two containers of one name"),
        ({"restartPolicy": "Sometimes"}, "expected one of Always, OnFailure, Never"),
    ],
)
def test_a_pod_that_cannot_run_is_refused_with_the_reason(pod_document, spec, message) -> None:
    document = pod_document()
    document["spec"] |= spec
    with pytest.raises(BadPod, match=message):
        read_pod(document)


def test_matrixinfer_is_run_by_this_interpreter(pod_document, machine: Machine) -> None:
    ours = read_pod(pod_document("p", "matrixinfer", "agent")).containers[0]
    theirs = read_pod(pod_document("p", "echo", "matrixinfer")).containers[0]
    assert command_line(ours, machine, {}, {}) == [machine.python, "-m", "matrixinfer", "agent"]
    assert command_line(theirs, machine, {}, {}) == ["echo", "matrixinfer"]


def test_env_takes_values_and_fields_of_the_pod(pod_document, machine: Machine) -> None:
    env = (
        {"name": "PLAIN", "value": "1"},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "MODEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['matrixinfer.ai/model']"}}},
    )
    document = pod_document("p7", env=env)
    document["metadata"]["labels"]["matrixinfer.ai/model"] = "smollm2"
    pod = read_pod(document)
    given = environment(machine, told_environment(pod, pod.containers[0], machine), {}, "life")
    assert [given[name] for name in ("PLAIN", "NAME", "NAMESPACE", "NODE", "MODEL")] == [
        "1",
        "p7",
        "default",
        "local",
        "smollm2",
    ]
    assert given[LIFE_VARIABLE] == "life"


def test_an_unknown_field_is_refused(pod_document, machine: Machine) -> None:
    env = ({"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.secret"}}},)
    pod = read_pod(pod_document("p", env=env))
    with pytest.raises(BadConfiguration, match=r"spec\.secret"):
        told_environment(pod, pod.containers[0], machine)


def test_containers_get_the_agents_bus_and_nothing_of_the_nodes_own(pod_document) -> None:
    node = Machine(
        "local",
        "/opt/python/bin/python3",
        {
            "PATH": "/bin",
            "HOME": "/h",
            "MATRIXINFER_HOUSE": "h1",
            "MATRIXINFER_BUS_URL": "nats://node@x",
            "MATRIXINFER_BUS_NAME": "node",
            "MATRIXINFER_NODE_DATA_DIR": "/d",
            "MATRIXINFER_AGENT_CACHE_DIR": "/cache",
        },
        "nats://agent@x",
        "mi",
    )
    pod = read_pod(pod_document())
    given = environment(node, told_environment(pod, pod.containers[0], node), {}, "life")
    assert given == {
        "PATH": "/opt/python/bin:/bin",
        "HOME": "/h",
        "MATRIXINFER_HOUSE": "h1",
        "MATRIXINFER_AGENT_CACHE_DIR": "/cache",
        "MATRIXINFER_BUS_URL": "nats://agent@x",
        "MATRIXINFER_BUS_PREFIX": "mi",
        LIFE_VARIABLE: "life",
    }
