"""Models on engines of their own, on a real API server: it takes the Pods, and adapters change none of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.serving import PodAdapters, Pool, PoolPod
from support.eventually import eventually
from support.kube import ControlPlane
from support.kube_house import House, running

EXAMPLES = Path(__file__).parents[2] / "examples"
MODELS = "/apis/matrixinfer.ai/v1alpha1/namespaces/default/models"
PODS = "/api/v1/namespaces/default/pods"
SLOW_S = 30.0


@pytest.fixture
async def house(control_plane: ControlPlane) -> AsyncIterator[House]:
    async with running(control_plane) as house:
        yield house


def example(name: str) -> dict[str, Any]:
    """Any: a manifest."""
    manifest: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text())
    return manifest


async def conditions(house: House, name: str) -> dict[str, str]:
    model = await house.ask("GET", f"{MODELS}/{name}")
    return {one["type"]: one["status"] for one in model.get("status", {}).get("conditions", [])}


async def is_available(house: House, name: str) -> bool:
    return (await conditions(house, name)).get("Available") == "True"


async def in_pool(house: House, model: str) -> dict[str, str]:
    entries = await house.bus.store("SERVING").entries("pod")
    pods = [decode(entry.value, PoolPod) for entry in entries.values()]
    return {pod.pod: pod.role for pod in pods if pod.pod.startswith(f"{model}-")}


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        (
            "sglang.yaml",
            {
                "qwen-h100-0-prefill-0-0": "prefill",
                "qwen-h100-0-prefill-1-0": "prefill",
                "qwen-h100-0-decode-0-0": "decode",
            },
        ),
        (
            "vllm.yaml",
            {
                "llama-vllm-0-server-0-0": "server",
                "llama-vllm-1-server-0-0": "server",
                "llama-elsewhere-0-server-0-0": "server",
            },
        ),
    ],
)
async def test_the_server_takes_the_pods_of_an_example_and_the_entries_of_its_engines_serve(house, name, roles):
    model = example(name)
    await house.ask("POST", MODELS, model)
    await eventually(lambda: is_available(house, model["metadata"]["name"]), timeout_s=SLOW_S)

    async def all_serve() -> bool:
        return await in_pool(house, model["metadata"]["name"]) == roles

    await eventually(all_serve, timeout_s=SLOW_S)
    assert (await conditions(house, model["metadata"]["name"]))["Failed"] == "False"


async def test_workers_of_an_engine_find_its_first_pod_by_a_service(house):
    await house.ask("POST", MODELS, example("sglang.yaml"))
    await eventually(lambda: is_available(house, "qwen"), timeout_s=SLOW_S)
    found = await house.ask("GET", "/api/v1/namespaces/default/services")
    names = {one["metadata"]["name"] for one in found["items"]} - {"kubernetes"}
    worker = await house.ask("GET", f"{PODS}/qwen-h100-0-decode-0-1")
    told = {one["name"]: one.get("value", "") for one in worker["spec"]["containers"][0]["env"]}
    assert told["ENTRY_ADDRESS"].split(".")[0] in names


async def test_other_adapters_are_told_to_running_pods_and_replace_none(house):
    model = example("sglang.yaml")
    await house.ask("POST", MODELS, model)
    await eventually(lambda: is_available(house, "qwen"), timeout_s=SLOW_S)

    async def uids() -> set[str]:
        return {pod["metadata"]["uid"] for pod in (await house.ask("GET", PODS))["items"]}

    async def adapters() -> set[tuple[str, ...]]:
        entries = await house.bus.store("SERVING").entries("adapters")
        return {tuple(sorted(decode(entry.value, PodAdapters).adapters)) for entry in entries.values()}

    async def are(*names: str) -> bool:
        return await adapters() == {names}

    await eventually(lambda: are("qwen-legal", "qwen-sql"), timeout_s=SLOW_S)
    before = await uids()
    backend = model["spec"]["backends"][0] | {"loraAdapters": [{"name": "qwen-new", "artifactURL": "hf://org/new"}]}
    await house.replace_spec(f"{MODELS}/qwen", model["spec"] | {"backends": [backend]})
    await eventually(lambda: are("qwen-new"), timeout_s=SLOW_S)
    await asyncio.sleep(1.0)  # a rollout would have begun
    assert await uids() == before


async def test_a_model_says_why_its_pods_do_not_start(house):
    house.kubelet.held_back = {"llama-vllm-0-server-0-0"}
    await house.ask("POST", MODELS, example("vllm.yaml"))
    await eventually(lambda: is_available(house, "llama"), timeout_s=SLOW_S)
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    status = {"phase": "Pending", "containerStatuses": [container(name, waiting) for name in ("engine", "agent")]}
    await house.kubelet.say("llama-vllm-0-server-0-0", status)

    async def says_so() -> bool:
        model = await house.ask("GET", f"{MODELS}/llama")
        failed = [one for one in model["status"]["conditions"] if one["type"] == "Failed"]
        return bool(failed) and failed[0]["reason"] == "ImagePullBackOff" and "no such image" in failed[0]["message"]

    await eventually(says_so, timeout_s=SLOW_S)


def container(name: str, state: dict[str, Any]) -> dict[str, Any]:
    """Any: a status."""
    return {"name": name, "state": state, "image": "", "imageID": "", "ready": False, "restartCount": 0}


async def test_a_pool_without_ready_pods_says_so_to_the_gateways(house):
    house.kubelet.held_back = {"llama-elsewhere-0-server-0-0"}
    await house.ask("POST", MODELS, example("vllm.yaml"))
    await eventually(lambda: is_available(house, "llama"), timeout_s=SLOW_S)
    entries = await house.bus.store("SERVING").entries("pool")
    has_pods = {pool.modelserver: pool.has_pods for pool in (decode(one.value, Pool) for one in entries.values())}
    assert has_pods == {"llama-vllm": True, "llama-elsewhere": False}


async def test_a_models_policy_is_bound_and_told_and_its_binding_goes_with_it(house):
    policy = {
        "apiVersion": "matrixinfer.ai/v1alpha1",
        "kind": "AutoScalingPolicy",
        "metadata": {"name": "p"},
        "spec": {"metrics": [{"metricName": "waiting", "targetValue": 4}]},
    }
    model = example("simulated.yaml")
    backend = model["spec"]["backends"][0] | {"maxReplicas": 5, "autoscalingPolicy": "p"}
    model["spec"]["backends"] = [backend]
    await house.ask("POST", MODELS, model)
    bindings = MODELS.replace("models", "autoscalingpolicybindings")

    async def is_autoscaled(wanted: str) -> bool:
        return (await conditions(house, "simulated")).get("Autoscaled") == wanted

    await eventually(lambda: is_autoscaled("False"), timeout_s=SLOW_S)
    await house.ask("POST", MODELS.replace("models", "autoscalingpolicies"), policy)
    await eventually(lambda: is_autoscaled("True"), timeout_s=SLOW_S)
    (binding,) = (await house.ask("GET", bindings))["items"]
    assert binding["spec"]["scalingConfiguration"]["maxReplicas"] == 5
    await house.ask("DELETE", f"{MODELS}/simulated")

    async def no_binding() -> bool:
        return not (await house.ask("GET", bindings))["items"]

    await eventually(no_binding, timeout_s=SLOW_S)
    await eventually(house.is_empty, timeout_s=SLOW_S)
