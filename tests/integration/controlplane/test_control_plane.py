"""From a manifest at the door to pods, pools and routes, and back to nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from matrixinfer.bus.cluster_client import Refused
from matrixinfer.bus.contracts.cluster import AppliedObject, object_key
from matrixinfer.bus.errors import NobodyThere
from support.eventually import eventually

EXAMPLE = (Path(__file__).parents[3] / "examples" / "simulated.yaml").read_text()
PAIR = """
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelInfer
metadata: {name: pair}
spec:
  schedulerName: volcano
  template:
    gangPolicy: {}
    roles:
      - name: server
        workerReplicas: 1
        entryTemplate: {spec: {containers: [{name: c}]}}
        workerTemplate: {spec: {containers: [{name: c}]}}
---
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelServer
metadata: {name: pair}
spec: {inferenceEngine: Simulated, workloadSelector: {matchLabels: {matrixinfer.ai/modelinfer: pair}}}
"""
PODS = [f"simulated-sim-{number}-server-0-0" for number in range(3)]


@pytest.fixture
async def running(plane):
    """One handlers process and a node, ready to answer."""
    await plane.start_handlers()
    plane.start_node()
    await eventually(lambda: answers(plane))
    return plane


async def answers(plane) -> bool:
    try:
        await plane.client.list("models")
    except NobodyThere:
        return False
    return True


async def serves(plane, pods: list[str]) -> bool:
    return "simulated" in await plane.routes() and sorted(await plane.pool_pods()) == pods


async def is_empty(plane) -> bool:
    return await plane.everything() == []


async def test_an_applied_model_is_served_and_says_so(running):
    assert await running.client.apply(EXAMPLE) == [AppliedObject("Model", "default", "simulated", "created")]
    await eventually(lambda: serves(running, PODS))
    assert await running.names("Pod") == PODS

    async def active() -> str:
        model = await running.client.get("model", "default", "simulated")
        conditions = {one["type"]: one for one in model.get("status", {}).get("conditions", [])}
        return conditions["Available"]["message"] if conditions.get("Available", {}).get("status") == "True" else ""

    await eventually(lambda: expected(active(), "backend sim: 3 of 3 replicas ready"))


async def expected(value, wanted) -> bool:
    return await value == wanted


async def test_applying_again_changes_nothing_and_scaling_changes_the_pods(running):
    await running.client.apply(EXAMPLE)
    await eventually(lambda: serves(running, PODS))
    (again,) = await running.client.apply(EXAMPLE)
    assert again.outcome == "unchanged"
    (scaled,) = await running.client.apply(EXAMPLE.replace("minReplicas: 3", "minReplicas: 1"))
    assert scaled.outcome == "configured"
    await eventually(lambda: serves(running, PODS[:1]))
    await eventually(lambda: expected(running.names("Pod"), PODS[:1]))


async def test_a_deleted_model_leaves_nothing_behind(running):
    await running.client.apply(EXAMPLE)
    await eventually(lambda: serves(running, PODS))
    assert await running.client.delete("models", "default", "simulated") is True
    await eventually(lambda: is_empty(running))
    assert await running.client.delete("models", "default", "simulated") is False


async def test_a_deleted_pod_comes_again(running):
    await running.client.apply(EXAMPLE)
    await eventually(lambda: serves(running, PODS))
    before = await running.client.get("pod", "default", PODS[0])
    await running.client.delete("pod", "default", PODS[0], before["metadata"]["uid"])

    async def is_another() -> bool:
        now = await running.client.get("pod", "default", PODS[0])
        return now is not None and now["metadata"]["uid"] != before["metadata"]["uid"]

    await eventually(is_another)
    await eventually(lambda: serves(running, PODS))


async def test_a_gang_comes_into_the_pool_and_takes_its_names_with_it_when_it_goes(running):
    await running.client.apply(PAIR)
    pods = ["pair-0-server-0-0", "pair-0-server-0-1"]

    async def is_whole() -> bool:
        return sorted(await running.pool_pods()) == pods[:1]  # the other one is a worker, and answers nobody

    await eventually(is_whole)
    assert await running.names("Pod") == pods
    assert await running.names("Service") == pods[:1]
    assert await running.names("PodGroup") == []
    for kind in ("modelinfers", "modelservers"):
        await running.client.delete(kind, "default", "pair")
    await eventually(lambda: is_empty(running))


async def test_a_bad_manifest_is_refused_whole_with_every_problem(running):
    with pytest.raises(Refused) as caught:
        await running.client.apply(f"{EXAMPLE}\n---\n{EXAMPLE.replace('minReplicas', 'replicas')}\n---\nkind: Foo")
    assert caught.value.code == "invalid"
    assert len(caught.value.problems) == 2
    assert "document 2 (Model simulated): spec.backends[0].replicas: unknown field" in caught.value.problems[0]
    assert await is_empty(running)


async def test_the_door_tells_what_is_not_there_and_what_is_another_object(running):
    await running.client.apply(EXAMPLE)
    assert await running.client.get("model", "default", "nobody") is None
    for ask, code in (
        (running.client.get("deployment", "default", "x"), "invalid"),
        (running.client.delete("model", "default", "simulated", "another-uid"), "conflict"),
        (running.client.set_status("model", "default", "nobody", "uid", {}), "not_found"),
        (running.client.set_status("model", "default", "simulated", "another-uid", {}), "conflict"),
    ):
        with pytest.raises(Refused) as caught:
            await ask
        assert caught.value.code == code


async def test_lists_of_any_length_come_whole_and_in_order(running):
    servers = "\n---\n".join(
        f"""
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelServer
metadata: {{name: s{number:04}, labels: {{parity: {"even" if number % 2 == 0 else "odd"}}}}}
spec: {{inferenceEngine: Simulated, workloadSelector: {{matchLabels: {{app: x{number}}}}}}}
"""
        for number in range(550)
    )
    await running.client.apply(servers)
    names = [one["metadata"]["name"] for one in await running.client.list("ms")]
    assert names == [f"s{number:04}" for number in range(550)]
    assert len(await running.client.list("ms", labels={"parity": "odd"})) == 275
    assert await running.client.list("ms", "elsewhere") == []


async def test_two_processes_share_the_work_and_one_alone_finishes_it(plane):
    first = await plane.start_handlers()
    await plane.start_handlers()
    plane.start_node()
    await eventually(lambda: answers(plane))
    await plane.client.apply(EXAMPLE)
    await first.end()
    await eventually(lambda: serves(plane, PODS), timeout_s=15)
    await plane.client.delete("model", "default", "simulated")
    await eventually(lambda: is_empty(plane), timeout_s=15)


async def test_what_was_deleted_while_nobody_listened_leaves_no_trace(plane):
    first = await plane.start_handlers()
    plane.start_node()
    await eventually(lambda: answers(plane))
    await plane.client.apply(EXAMPLE)
    await eventually(lambda: serves(plane, PODS))
    await first.end()
    await plane.bus.store("OBJECTS").delete(object_key("Model", "default", "simulated"))
    await plane.start_handlers()
    await eventually(lambda: is_empty(plane), timeout_s=15)
