"""Pods that a real API server refuses: whoever asked for them is told why, and the server is not asked without end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.eventually import eventually
from support.kube import ControlPlane
from support.kube_house import House, running

INFERS = "/apis/matrixinfer.ai/v1alpha1/namespaces/default/modelinfers"
PODS = "/api/v1/namespaces/default/pods"
SLOW_S = 30.0
FEW = 30
"""Attempts, by two processes, until it is told: each waits twice as long as the one before."""


@pytest.fixture
async def house(control_plane: ControlPlane) -> AsyncIterator[House]:
    async with running(control_plane) as house:
        yield house


def infer(**spec: Any) -> dict[str, Any]:
    """Any: fields of a PodSpec."""
    template = {"spec": {"containers": [{"name": "main", "image": "image"}]} | spec}
    return {
        "apiVersion": "matrixinfer.ai/v1alpha1",
        "kind": "ModelInfer",
        "metadata": {"name": "odd", "namespace": "default"},
        "spec": {"template": {"roles": [{"name": "server", "entryTemplate": template}]}},
    }


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "two containers of one name": (
        {"containers": [{"name": "main", "image": "i"}, {"name": "main", "image": "i"}]},
        'duplicate entries for key [name="main"]',
    ),
    "a volume that is not there": (
        {"containers": [{"name": "main", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]},
        "volumeMounts[0].name",
    ),
    "a node's label with a space": ({"nodeSelector": {"a b": "c"}}, "nodeSelector"),
    "a probe that does nothing": (
        {"containers": [{"name": "main", "image": "i", "livenessProbe": {"periodSeconds": 1}}]},
        "livenessProbe",
    ),
}


async def told(house: House) -> str:
    found = await house.ask("GET", f"{INFERS}/odd")
    failed = [one for one in found.get("status", {}).get("conditions", ()) if one["type"] == "ReconcileFailed"]
    return failed[0]["message"] if failed else ""


@pytest.mark.parametrize("name", REFUSED)
async def test_who_asked_for_a_pod_that_is_refused_is_told_why(house: House, name: str) -> None:
    spec, word = REFUSED[name]

    async def says_why() -> bool:
        return word in await told(house)

    before = await house.requests()
    await house.ask("POST", INFERS, infer(**spec))
    await eventually(says_why, timeout_s=SLOW_S)
    asked = (await house.requests()) - before
    assert sum(count for what, count in asked.items() if what.endswith(" pods")) < FEW


async def test_what_is_said_twice_of_the_environment_counts_once_the_last_time(house: House) -> None:
    said = [("A", "1"), ("B", "b"), ("A", "2"), ("GROUP_SIZE", "7")]
    env = [{"name": name, "value": value} for name, value in said]
    await house.ask("POST", INFERS, infer(containers=[{"name": "main", "image": "i", "env": env}]))

    async def is_made() -> bool:
        return len(await house.pods()) == 1

    await eventually(is_made, timeout_s=SLOW_S)
    (pod,) = (await house.ask("GET", PODS))["items"]
    found = [(one["name"], one["value"]) for one in pod["spec"]["containers"][0]["env"]]
    assert [one for one in found if one[0] in ("A", "B", "GROUP_SIZE")] == [("GROUP_SIZE", "7"), ("A", "2"), ("B", "b")]
