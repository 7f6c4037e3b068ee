"""A policy and its bindings on running handlers: every change of what they refer to is noticed."""

from __future__ import annotations

from pathlib import Path

from support.eventually import eventually

EXAMPLE = (Path(__file__).parents[3] / "examples" / "autoscaling.yaml").read_text()
POLICY, BINDING, INFER, SERVER, ROUTE = EXAMPLE.split("---\n")
RIVAL = BINDING.replace("metadata: {name: elastic}", "metadata: {name: late}")


async def conditions(plane, name: str = "elastic") -> dict[str, str]:
    binding = await plane.client.get("aspb", "default", name)
    found = ((binding or {}).get("status") or {}).get("conditions", [])
    return {one["type"]: one["reason"] for one in found}


async def says(plane, name: str = "elastic", **reasons: str) -> bool:
    return reasons.items() <= (await conditions(plane, name)).items()


async def counts(plane, bindings: int) -> bool:
    policy = await plane.client.get("asp", "default", "waiting")
    return (policy.get("status") or {}).get("bindings", 0) == bindings


async def test_each_change_of_what_a_binding_refers_to_is_told_in_its_status(plane):
    await plane.start_handlers()
    plane.start_node()
    await plane.client.apply(BINDING)
    await eventually(lambda: says(plane, PolicyFound="PolicyNotFound", TargetFound="ModelInferNotFound"))
    await plane.client.apply(EXAMPLE)
    found = {"Accepted": "Accepted", "PolicyFound": "Found", "TargetFound": "Found", "WithinBounds": "WithinBounds"}
    await eventually(lambda: says(plane, **found))
    await eventually(lambda: counts(plane, 1))
    await plane.client.apply(INFER.replace("replicas: 2", "replicas: 5"))
    await eventually(lambda: says(plane, WithinBounds="OutOfBounds"))
    (target,) = (await plane.client.get("aspb", "default", "elastic"))["status"]["targets"]
    assert target == {"name": "elastic", "currentReplicas": 5}
    assert (await plane.client.get("mi", "default", "elastic"))["spec"]["replicas"] == 5
    await plane.client.delete("asp", "default", "waiting")
    await eventually(lambda: says(plane, PolicyFound="PolicyNotFound"))


async def test_a_binding_that_came_too_late_takes_over_when_the_older_one_goes(plane):
    await plane.start_handlers()
    plane.start_node()
    await plane.client.apply(EXAMPLE)
    await eventually(lambda: says(plane, Accepted="Accepted"))
    elder = await plane.client.get("aspb", "default", "elastic")
    await plane.client.apply(RIVAL)  # in the same second, perhaps: then the first name wins, and that is `elastic`
    await eventually(lambda: says(plane, "late", Accepted="TargetTaken"))
    await eventually(lambda: counts(plane, 2))
    await plane.client.delete("aspb", "default", "elastic", elder["metadata"]["uid"])
    await eventually(lambda: says(plane, "late", Accepted="Accepted"))
    await eventually(lambda: counts(plane, 1))
