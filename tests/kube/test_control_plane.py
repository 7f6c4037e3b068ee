"""Handlers processes on a real API server: from a Model to Pods, pools and routes, and back to nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from matrixinfer.bus.background import end
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.serving import PoolPod
from support.commands import Commands
from support.eventually import eventually
from support.kube import ControlPlane
from support.kube_house import RESYNC_S, House, running

EXAMPLE = yaml.safe_load((Path(__file__).parents[2] / "examples" / "simulated.yaml").read_text())
MODELS = "/apis/matrixinfer.ai/v1alpha1/namespaces/default/models"
SLOW_S = 30.0


@pytest.fixture
async def house(control_plane: ControlPlane) -> AsyncIterator[House]:
    async with running(control_plane) as house:
        yield house


async def test_a_model_is_served_scaled_and_leaves_nothing_behind(house):
    await house.ask("POST", MODELS, EXAMPLE)
    await eventually(lambda: house.serves(3), timeout_s=SLOW_S)

    async def is_active() -> bool:
        model = await house.ask("GET", f"{MODELS}/simulated")
        conditions = {one["type"]: one["status"] for one in model.get("status", {}).get("conditions", [])}
        return conditions.get("Available") == "True"

    await eventually(is_active, timeout_s=SLOW_S)
    scaled = EXAMPLE["spec"] | {"backends": [EXAMPLE["spec"]["backends"][0] | {"minReplicas": 1}]}
    await house.replace_spec(f"{MODELS}/simulated", scaled)
    await eventually(lambda: house.serves(1), timeout_s=SLOW_S)
    await house.ask("DELETE", f"{MODELS}/simulated")
    await eventually(house.is_empty, timeout_s=SLOW_S)


async def test_where_nothing_changes_nothing_is_asked_however_often_everything_is_looked_at(house):
    await house.ask("POST", MODELS, EXAMPLE)
    await eventually(lambda: house.serves(3), timeout_s=SLOW_S)
    seen: list[Counter[str]] = [Counter()]

    async def is_at_rest() -> bool:
        seen.append(await house.requests())
        return seen[-1] == seen[-2]

    await eventually(is_at_rest, timeout_s=SLOW_S, every_s=2 * RESYNC_S)
    assert any(what.startswith(("APPLY", "PATCH")) for what in seen[-1])


async def test_a_deleted_pod_comes_again(house):
    await house.ask("POST", MODELS, EXAMPLE)
    await eventually(lambda: house.serves(3), timeout_s=SLOW_S)
    before = list(house.kubelet.started)
    await house.ask("DELETE", f"/api/v1/namespaces/default/pods/{before[0]}")
    await eventually(lambda: len(house.kubelet.started) > len(before), timeout_s=SLOW_S)
    await eventually(lambda: house.serves(3), timeout_s=SLOW_S)


async def test_a_pod_that_is_not_ready_is_in_no_pool(house):
    house.kubelet.held_back = {"simulated-sim-1-server-0-0"}
    await house.ask("POST", MODELS, EXAMPLE)

    async def lacks_one() -> bool:
        return len(await house.pods()) == 3 and await house.pool() == [
            "simulated-sim-0-server-0-0",
            "simulated-sim-2-server-0-0",
        ]

    await eventually(lacks_one, timeout_s=SLOW_S)
    house.kubelet.held_back.clear()
    await house.kubelet.look_again()
    await eventually(lambda: house.serves(3), timeout_s=SLOW_S)


INFER: dict[str, Any] = {
    "apiVersion": "matrixinfer.ai/v1alpha1",
    "kind": "ModelInfer",
    "metadata": {"name": "rolls"},
    "spec": {
        "replicas": 2,
        "rolloutStrategy": {"rollingUpdateConfiguration": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {"roles": [{"name": "server"}]},
    },
}
SERVER = {
    "apiVersion": "matrixinfer.ai/v1alpha1",
    "kind": "ModelServer",
    "metadata": {"name": "rolls"},
    "spec": {
        "inferenceEngine": "Simulated",
        "workloadSelector": {"matchLabels": {"matrixinfer.ai/modelinfer": "rolls"}},
    },
}


def rolling(image: str) -> dict[str, Any]:
    """Any: a manifest."""
    template = {
        "metadata": {"labels": {"matrixinfer.ai/agent": "true"}},
        "spec": {"containers": [{"name": "agent", "image": image}]},
    }
    roles = [{"name": "server", "entryTemplate": template}]
    return INFER | {"spec": INFER["spec"] | {"template": {"roles": roles}}}


async def test_a_rolling_update_with_surge_never_has_fewer_pods_in_the_pool_and_the_command_line_follows_it(
    house, tmp_path
):
    matrixinfer = Commands("--kubeconfig", str(house.plane.kubeconfig))
    manifest = tmp_path / "rolls.yaml"
    manifest.write_text(yaml.safe_dump_all([rolling("one"), SERVER]))
    assert await matrixinfer("apply", "-f", str(manifest)) == ("modelinfer/rolls created\nmodelserver/rolls created\n")
    await eventually(lambda: house.serves(2), timeout_s=SLOW_S)
    fewest, most = [2], [2]

    async def watch() -> None:
        while True:
            entries = await house.bus.store("SERVING").entries("pod")
            fewest.append(sum(not decode(entry.value, PoolPod).draining for entry in entries.values()))
            most.append(len(await house.pods()))
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    manifest.write_text(yaml.safe_dump_all([rolling("two"), SERVER]))
    assert "modelinfer/rolls configured" in await matrixinfer("apply", "-f", str(manifest))
    await matrixinfer("rollout", "status", "modelinfer/rolls", "--timeout", "60")
    await end([watching])
    assert (min(fewest), max(most)) == (2, 3)
    found = await house.ask("GET", "/api/v1/namespaces/default/pods")
    assert {pod["spec"]["containers"][0]["image"] for pod in found["items"]} == {"two"}
    assert len((await matrixinfer("rollout", "history", "modelinfer/rolls")).splitlines()) == 3
    await matrixinfer("scale", "modelinfer/rolls", "--replicas", "1")
    await matrixinfer("rollout", "status", "modelinfer/rolls", "--timeout", "60")
    told = await matrixinfer("describe", "modelinfer", "rolls")
    assert "Available=True" in told
    assert "PodsMade" in told
    assert "modelinfer/rolls deleted" in await matrixinfer("delete", "-f", str(manifest))
    await eventually(house.is_empty, timeout_s=SLOW_S)
