"""What stands beside the pods of a group, on a real API server: names, PodGroups, and what is made anew together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.commands import Commands
from support.eventually import eventually
from support.kube import ControlPlane
from support.kube_house import RESYNC_S, House, running

SLOW_S = 30.0
INFERS = "/apis/matrixinfer.ai/v1alpha1/namespaces/default/modelinfers"
CORE = "/api/v1/namespaces/default"
GROUPS = "/apis/scheduling.volcano.sh/v1beta1/namespaces/default/podgroups"
ALL = ["pair-0-server-0-0", "pair-0-server-0-1", "pair-1-server-0-0", "pair-1-server-0-1"]

ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
TOPOLOGY = {"type": "object", "properties": {"mode": {"type": "string"}, "highestTierAllowed": {"type": "integer"}}}
SUB_GROUP = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "labelSelector": ANYTHING,
        "matchLabelKeys": {"type": "array", "items": {"type": "string"}},
        "subGroupSize": {"type": "integer"},
        "minSubGroups": {"type": "integer"},
        "networkTopology": TOPOLOGY,
    },
}
POD_GROUP = {
    "type": "object",
    "properties": {
        "minMember": {"type": "integer"},
        "minResources": {"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True}},
        "queue": {"type": "string"},
        "networkTopology": TOPOLOGY,
        "subGroupPolicy": {"type": "array", "items": SUB_GROUP},
    },
}
VERSION = {
    "name": "v1beta1",
    "served": True,
    "storage": True,
    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": POD_GROUP, "status": ANYTHING}}},
    "subresources": {"status": {}},
}
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "podgroups.scheduling.volcano.sh"},
    "spec": {
        "group": "scheduling.volcano.sh",
        "scope": "Namespaced",
        "names": {"kind": "PodGroup", "listKind": "PodGroupList", "plural": "podgroups", "singular": "podgroup"},
        "versions": [VERSION],
    },
}
"""As much of Volcano's as we write."""


@pytest.fixture
async def house(control_plane: ControlPlane) -> AsyncIterator[House]:
    async with running(control_plane) as house:
        yield house


@pytest.fixture
async def volcano(control_plane: ControlPlane) -> AsyncIterator[House]:
    """A house on a cluster that knows PodGroups. Nobody schedules by them: the kubelet takes every pod."""
    await asyncio.to_thread(control_plane.serve_kind, CRD)
    try:
        async with running(control_plane) as house:
            yield house
    finally:
        await asyncio.to_thread(control_plane.forget_kind, CRD)


def pair(replicas: int = 2, **spec: Any) -> dict[str, Any]:
    """Groups of one instance: an entry and a worker. Any: a manifest."""
    resources = {"requests": {"cpu": "10m"}, "limits": {"memory": "1Mi"}}
    template = {"spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}}
    role = {"name": "server", "entryTemplate": template, "workerReplicas": 1, "workerTemplate": template}
    own = {"replicas": replicas, "template": {"roles": [role]}, "recovery": {"backoff": "500ms"}}
    return {
        "apiVersion": "matrixinfer.ai/v1alpha1",
        "kind": "ModelInfer",
        "metadata": {"name": "pair", "annotations": {"scheduling.volcano.sh/queue-name": "gold"}},
        "spec": own | spec,
    }


async def named(house: House, path: str) -> dict[str, dict[str, Any]]:
    found = await house.ask("GET", path)
    objects = {one["metadata"]["name"]: one for one in found["items"]}
    objects.pop("kubernetes", None)
    return objects


async def is_available(house: House, groups: int) -> bool:
    status = (await house.ask("GET", f"{INFERS}/pair")).get("status", {})
    return bool(status.get("availableReplicas", 0) == groups == status.get("replicas", 0))


async def test_an_entry_is_found_under_its_name_and_the_name_goes_with_it(house):
    infer = await house.ask("POST", INFERS, pair())
    await eventually(lambda: is_available(house, 2), timeout_s=SLOW_S)
    services = await named(house, f"{CORE}/services")
    assert sorted(services) == [ALL[0], ALL[2]]
    assert all(one["spec"]["clusterIP"] == "None" for one in services.values())
    owners = [one["metadata"]["ownerReferences"] for one in services.values()]
    assert [(own["uid"], own["controller"]) for (own,) in owners] == [(infer["metadata"]["uid"], True)] * 2
    address = (await named(house, f"{CORE}/pods"))[ALL[0]]["status"]["podIP"]

    async def is_found() -> bool:
        """By Kubernetes' own controller: what its DNS answers from."""
        found = (await named(house, f"{CORE}/endpoints")).get(ALL[0], {})
        known = [one for subset in found.get("subsets", []) for one in subset["addresses"]]
        return [(one["ip"], one.get("hostname")) for one in known] == [(address, ALL[0])]

    await eventually(is_found, timeout_s=SLOW_S)
    await house.replace_spec(f"{INFERS}/pair", pair(replicas=1)["spec"])
    await eventually(lambda: is_available(house, 1), timeout_s=SLOW_S)

    async def has_services(count: int) -> bool:
        return len(await named(house, f"{CORE}/services")) == count

    await eventually(lambda: has_services(1), timeout_s=SLOW_S)
    await house.ask("DELETE", f"{INFERS}/pair")
    await eventually(lambda: has_services(0), timeout_s=SLOW_S)
    await eventually(house.is_empty, timeout_s=SLOW_S)


async def test_a_failed_pod_is_made_anew_with_its_instance_and_with_nobody_else(house):
    await house.ask("POST", INFERS, pair())
    await eventually(lambda: is_available(house, 2), timeout_s=SLOW_S)
    before = await named(house, f"{CORE}/pods")
    services = await named(house, f"{CORE}/services")
    await house.kubelet.fail(ALL[1])

    async def is_anew() -> bool:
        after = await named(house, f"{CORE}/pods")
        fresh = {name for name, pod in after.items() if pod["metadata"]["uid"] != before[name]["metadata"]["uid"]}
        return sorted(after) == ALL and fresh == set(ALL[:2])

    await eventually(is_anew, timeout_s=SLOW_S)
    await eventually(lambda: is_available(house, 2), timeout_s=SLOW_S)
    again = await named(house, f"{CORE}/services")
    assert [one["metadata"]["uid"] for one in again.values()] == [one["metadata"]["uid"] for one in services.values()]


async def test_a_group_waits_for_its_minimum_where_nobody_else_sees_to_it(house):
    house.kubelet.held_back = {ALL[1]}
    spec = pair(replicas=1)["spec"]
    template = spec["template"] | {"gangPolicy": {"minRoleReplicas": {"server": 1}}}
    await house.ask("POST", INFERS, pair(replicas=1, template=template))

    async def marks() -> list[str | None]:
        pods = await named(house, f"{CORE}/pods")
        return [pod["metadata"].get("annotations", {}).get("matrixinfer.ai/gang") for pod in pods.values()]

    async def waits() -> bool:
        message = str(await house.ask("GET", f"{INFERS}/pair"))
        return "waiting for their minimum: group 0 (server: 0 of 1)" in message and await marks() == ["waiting"] * 2

    await eventually(waits, timeout_s=SLOW_S)
    house.kubelet.held_back.clear()
    await house.kubelet.look_again()
    await eventually(lambda: is_available(house, 1), timeout_s=SLOW_S)
    assert await marks() == [None, None]


async def test_volcano_is_told_what_a_group_needs(volcano):
    spec = pair()["spec"]
    topology = {"groupPolicy": {"mode": "soft"}, "rolePolicy": {"highestTierAllowed": 1}}
    template = spec["template"] | {"networkTopology": topology}
    infer = await volcano.ask("POST", INFERS, pair(template=template, schedulerName="volcano"))
    await eventually(lambda: is_available(volcano, 2), timeout_s=SLOW_S)
    groups = await named(volcano, GROUPS)
    assert sorted(groups) == ["pair-0", "pair-1"]
    assert groups["pair-0"]["metadata"]["ownerReferences"][0]["uid"] == infer["metadata"]["uid"]
    told = groups["pair-0"]["spec"]
    assert (told["minMember"], told["minResources"], told["queue"]) == (2, {"cpu": "20m", "memory": str(2**21)}, "gold")
    assert told["networkTopology"]["mode"] == "soft"
    (sub_group,) = told["subGroupPolicy"]
    assert (sub_group["subGroupSize"], sub_group["networkTopology"]) == (2, {"highestTierAllowed": 1})
    for name, pod in (await named(volcano, f"{CORE}/pods")).items():
        assert pod["spec"]["schedulerName"] == "volcano"
        assert pod["metadata"]["annotations"]["scheduling.k8s.io/group-name"] == name[: len("pair-0")]
        assert pod["metadata"]["annotations"]["volcano.sh/task-spec"] == "server-0"
    matrixinfer = Commands("--kubeconfig", str(volcano.plane.kubeconfig))
    assert "PodGroup pair-0  not scheduled yet, 2 pods" in await matrixinfer("describe", "modelinfer", "pair")
    seen: list[Counter[str]] = [Counter()]

    async def is_at_rest() -> bool:
        seen.append(await volcano.requests())
        return seen[-1] == seen[-2] and "APPLY podgroups" in seen[-1]

    await eventually(is_at_rest, timeout_s=SLOW_S, every_s=2 * RESYNC_S)
    await volcano.replace_spec(f"{INFERS}/pair", pair(1, template=template, schedulerName="volcano")["spec"])

    async def has_one() -> bool:
        return sorted(await named(volcano, GROUPS)) == ["pair-0"]

    await eventually(has_one, timeout_s=SLOW_S)
