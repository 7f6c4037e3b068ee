"""All or nothing without Volcano: nobody of a group takes requests before its minimum is ready."""

from __future__ import annotations

from typing import Any

import pytest

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.modelserver import ModelServer
from support.rolling import Rolling, role

SERVER = """
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelServer
metadata: {name: s}
spec: {inferenceEngine: Simulated, workloadSelector: {matchLabels: {matrixinfer.ai/modelinfer: i}}}
"""
PREFILL, DECODE = "i-0-prefill-0-0", "i-0-decode-0-0"


def gang(prefill: int = 1, decode: int = 1, **least: int) -> dict[str, Any]:
    roles = [role("prefill", replicas=prefill), role("decode", replicas=decode)]
    return {"roles": roles, "gangPolicy": {"minRoleReplicas": least}}


def begun(template: dict[str, Any], **spec: Any) -> Rolling:
    it = Rolling(replicas=1, template=template, **spec)
    it.world.write(SERVER)
    it.look()
    return it


def ready(it: Rolling, *names: str) -> None:
    for name in names:
        it.world.report(name, phase="Running", ready=True)
    it.look()


def members(it: Rolling) -> list[str]:
    """Of the pool."""
    server = it.world.one(ModelServer, "s")
    it.world.act(it.world.decide(server))
    return sorted(it.world.pool_pods())


def waiting(it: Rolling) -> list[str]:
    return [pod.metadata.name for pod in it.pods() if labels.GANG in pod.metadata.annotations]


def test_what_is_ready_waits_for_the_minimum_of_every_role():
    it = begun(gang())
    assert waiting(it) == [DECODE, PREFILL]
    ready(it, PREFILL)
    assert members(it) == []
    assert it.status.available_replicas == 0
    assert it.condition("Available").message == (
        "0 of 1 group ready; waiting for their minimum: group 0 (decode: 0 of 1)"
    )
    assert {one.name: one.ready_replicas for one in it.status.roles} == {"prefill": 1, "decode": 0}
    ready(it, DECODE)
    assert waiting(it) == []
    assert members(it) == [DECODE, PREFILL]
    assert it.status.available_replicas == 1
    assert it.world.decide(it.infer).is_empty


def test_more_than_the_minimum_is_not_waited_for():
    it = begun(gang(decode=3) | {"gangPolicy": {"minRoleReplicas": {"decode": 2}}})
    ready(it, PREFILL, DECODE)
    assert members(it) == []
    ready(it, "i-0-decode-1-0")
    assert members(it) == [DECODE, "i-0-decode-1-0", PREFILL]
    assert it.status.available_replicas == 0, "available is a group that is whole"
    ready(it, "i-0-decode-2-0")
    assert it.status.available_replicas == 1


def test_a_group_that_serves_goes_on_without_what_it_loses_and_what_comes_anew_waits():
    it = begun(gang())
    ready(it, PREFILL, DECODE)
    it.world.report(DECODE, phase="Failed")
    it.world.now += 60
    it.look()
    it.world.node_ends_pods()
    it.look()
    assert waiting(it) == [DECODE]
    assert members(it) == [PREFILL]
    ready(it, DECODE)
    assert members(it) == [DECODE, PREFILL]


def test_what_is_added_to_a_whole_group_does_not_wait():
    it = begun(gang(decode=1))
    ready(it, PREFILL, DECODE)
    it.write(template=gang(decode=2) | {"gangPolicy": {"minRoleReplicas": {"decode": 1}}})
    it.look()
    assert it.names() == [DECODE, "i-0-decode-1-0", PREFILL]
    assert waiting(it) == []


def test_without_a_policy_nothing_waits_and_what_waited_for_one_does_no_more():
    it = begun(gang())
    ready(it, PREFILL)
    it.write(template={"roles": gang()["roles"]})
    it.look()
    assert waiting(it) == []
    assert members(it) == [PREFILL]


def test_with_volcano_nothing_waits_here():
    it = Rolling(replicas=1, template=gang(), schedulerName="volcano")
    it.world.serves_pod_groups = True
    it.look()
    assert it.names() == [DECODE, PREFILL]
    assert waiting(it) == []


def test_who_waits_has_no_requests_and_is_not_drained():
    it = begun(gang())
    ready(it, PREFILL)
    it.write(replicas=0)
    it.look()
    assert all(pod.is_terminating for pod in it.pods() if pod.metadata.name == PREFILL)


@pytest.mark.parametrize("strategy", ["InferGroupRollingUpdate", "RoleRollingUpdate"])
def test_a_rollout_with_surge_never_leaves_the_pool_without_a_whole_group(strategy):
    update = {"maxUnavailable": 0, "maxSurge": 1}
    it = begun(gang(), rolloutStrategy={"type": strategy, "rollingUpdateConfiguration": update})
    ready(it, PREFILL, DECODE)
    roles = [role(name, command="two") for name in ("prefill", "decode")]
    it.write(template=gang() | {"roles": roles})
    for _ in it.steps():
        serving = [pod for pod in it.pods() if pod.metadata.name in members(it) and pod.is_ready]
        assert {pod.metadata.labels[labels.ROLE] for pod in serving} == {"prefill", "decode"}
    assert set(it.commands().values()) == {"two"}
