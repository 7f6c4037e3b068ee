"""ModelInfer → Pods: made, scaled, replaced, recovered."""

from __future__ import annotations

import pytest

from matrixinfer.handlers.api.conditions import find
from matrixinfer.handlers.api.container import Container
from matrixinfer.handlers.api.meta import Metadata
from matrixinfer.handlers.api.modelinfer import ModelInfer
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.podspec import PodSpec
from matrixinfer.handlers.reconcile.modelinfer import NEXT_PORTION_S, PORTION
from support.resource_world import World

INFER = """
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelInfer
metadata: {name: i}
spec:
  replicas: 2
  recoveryPolicy: RoleRecreate
  template:
    roles:
      - {name: prefill, replicas: 2, entryTemplate: {spec: {containers: [{name: c, command: [one]}]}}}
      - name: decode
        workerReplicas: 1
        entryTemplate: {spec: {containers: [{name: c, command: [one]}]}}
        workerTemplate: {spec: {containers: [{name: w, command: [two]}]}}
"""
GROUP = ("prefill-0-0", "prefill-1-0", "decode-0-0", "decode-0-1")
ALL = sorted(f"i-{group}-{rest}" for group in (0, 1) for rest in GROUP)


@pytest.fixture
def world() -> World:
    world = World()
    world.write(INFER)
    world.settle()
    world.node_runs_pods()
    world.settle()
    return world


def condition(world: World, type_: str):
    return find(world.one(ModelInfer, "i").status.conditions, type_)


def test_groups_times_roles_times_replicas_times_workers(world):
    assert world.names(Pod) == ALL
    assert world.one(Pod, "i-0-decode-0-1").spec.containers[0].command == ("two",)
    assert world.one(Pod, "i-0-decode-0-1").metadata.labels["matrixinfer.ai/entry"] == "false"


def test_the_status_counts_groups(world):
    status = world.one(ModelInfer, "i").status
    assert (status.replicas, status.updated_replicas, status.available_replicas) == (2, 2, 2)
    assert (condition(world, "Available").status, condition(world, "Progressing").status) == ("True", "False")
    world.report("i-1-decode-0-1", phase="Running", ready=False)
    world.settle()
    assert world.one(ModelInfer, "i").status.available_replicas == 1
    assert condition(world, "Available").message == "1 of 2 groups ready"


def test_scaling_down_takes_the_highest_group_first(world):
    world.write(INFER.replace("replicas: 2\n  recovery", "replicas: 1\n  recovery"))
    plan = world.decide(world.one(ModelInfer, "i"))
    doomed = [pod.metadata.name for pod in plan.deletes]
    assert sorted(doomed) == [name for name in ALL if name.startswith("i-1-")]
    world.act(plan)
    assert world.decide(world.one(ModelInfer, "i")).is_empty
    world.node_ends_pods()
    world.settle()
    assert world.names(Pod) == [name for name in ALL if name.startswith("i-0-")]


def test_plans_delete_the_highest_ordinals_first(world):
    world.write(INFER.replace("replicas: 2\n  recovery", "replicas: 0\n  recovery"))
    doomed = [pod.metadata.name for pod in world.decide(world.one(ModelInfer, "i")).deletes]
    groups = [int(name.split("-")[1]) for name in doomed]
    assert groups == sorted(groups, reverse=True)
    assert doomed.index("i-1-prefill-1-0") < doomed.index("i-1-prefill-0-0")


def test_scaling_to_zero_and_back(world):
    world.write(INFER.replace("replicas: 2\n  recovery", "replicas: 0\n  recovery"))
    world.settle()
    world.node_ends_pods()
    world.settle()
    assert world.names(Pod) == []
    assert condition(world, "Available").reason == "ScaledToZero"
    world.write(INFER)
    world.settle()
    assert world.names(Pod) == ALL


@pytest.mark.parametrize(
    ("policy", "replaced"),
    [
        ("None", {"i-0-decode-0-0"}),
        ("RoleRecreate", {"i-0-decode-0-0", "i-0-decode-0-1"}),
        ("InferGroupRecreate", {name for name in ALL if name.startswith("i-0-")}),
    ],
)
def test_a_failed_pod_is_made_anew_with_its_companions(world, policy, replaced):
    world.write(INFER.replace("RoleRecreate", policy))
    world.settle()
    uids = {pod.metadata.name: pod.metadata.uid for pod in world.all(Pod)}
    world.report("i-0-decode-0-0", phase="Failed", message="out of memory")
    world.now += 60
    world.settle()
    assert "out of memory" in condition(world, "Progressing").message
    world.node_ends_pods()
    world.settle()
    assert {pod.metadata.name for pod in world.all(Pod) if pod.metadata.uid != uids[pod.metadata.name]} == replaced
    world.node_ends_pods()
    assert world.reconcile_once(), "companions must not be replaced again and again"


def test_a_pod_that_fails_at_once_is_not_made_anew_in_a_tight_loop(world):
    world.report("i-0-decode-0-0", phase="Failed")
    plan = world.decide(world.one(ModelInfer, "i"))
    assert plan.deletes == ()
    assert plan.again_after_s == pytest.approx(10.0)
    world.now += 10
    assert {pod.metadata.name for pod in world.decide(world.one(ModelInfer, "i")).deletes} == {
        "i-0-decode-0-0",
        "i-0-decode-0-1",
    }


def test_a_pod_of_somebody_else_is_left_alone_and_the_status_names_it():
    world = World()
    world.put(Pod(metadata=Metadata(name="i-0-prefill-0-0"), spec=PodSpec(containers=(Container(name="x"),))))
    world.write(INFER)
    world.settle()
    assert world.one(Pod, "i-0-prefill-0-0").spec.containers[0].name == "x"
    progressing = condition(world, "Progressing")
    assert progressing.reason == "NameTaken"
    assert "i-0-prefill-0-0" in progressing.message
    assert world.names(Pod) == ALL


def test_a_large_object_is_made_and_unmade_in_portions_and_says_how_far_it_is():
    world = World()
    many = INFER.replace("replicas: 2\n  recovery", "replicas: 60\n  recovery")
    world.write(many)
    counts = []
    while (plan := world.decide(world.one(ModelInfer, "i"))).applies:
        world.act(plan)
        counts.append((len([one for one in plan.applies if isinstance(one, Pod)]), plan.again_after_s))
    assert counts == [(PORTION, NEXT_PORTION_S), (PORTION, NEXT_PORTION_S), (240 - 2 * PORTION, None)]
    assert plan.is_empty
    assert world.one(ModelInfer, "i").status.replicas == 60
    world.node_runs_pods()
    world.write(INFER.replace("replicas: 2\n  recovery", "replicas: 0\n  recovery"))
    counts = []
    while (plan := world.decide(world.one(ModelInfer, "i"))).deletes:
        world.act(plan)
        counts.append((len(plan.deletes), plan.again_after_s))
    assert counts == [(PORTION, NEXT_PORTION_S), (PORTION, NEXT_PORTION_S), (240 - 2 * PORTION, None)]


def test_a_portion_counts_the_groups_that_it_begins():
    world = World()
    world.write(INFER.replace("replicas: 2\n  recovery", "replicas: 60\n  recovery"))
    world.act(world.decide(world.one(ModelInfer, "i")))
    assert len(world.names(Pod)) == PORTION
    assert world.one(ModelInfer, "i").status.replicas == PORTION // len(GROUP)
