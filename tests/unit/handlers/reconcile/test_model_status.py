"""What a Model says when something is wrong with its Pods."""

from __future__ import annotations

from typing import Any

import pytest

from matrixinfer.handlers.api.conditions import find
from matrixinfer.handlers.api.meta import Condition
from matrixinfer.handlers.api.model import Model
from support.resource_world import World

MODEL = """
apiVersion: matrixinfer.ai/v1alpha1
kind: Model
metadata: {name: m}
spec:
  backends:
    - {name: a, type: SGLang, modelURI: "hf://org/m"}
    - {name: b, type: Simulated}
"""
POD = "m-a-0-server-0-0"


@pytest.fixture
def world() -> World:
    world = World()
    world.write(MODEL)
    world.settle()
    return world


def told(world: World, type_: str) -> Condition:
    found = find(world.one(Model, "m").status.conditions, type_)
    assert found is not None
    return found


def waiting(reason: str, message: str = "", ended: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    last = {"lastState": {"terminated": ended}} if ended else {}
    return {"name": "engine", "state": {"waiting": {"reason": reason, "message": message}}} | last | more


@pytest.mark.parametrize(
    ("status", "reason", "says"),
    [
        (
            {"containerStatuses": [waiting("ImagePullBackOff", "no such image")]},
            "ImagePullBackOff",
            "backend a: pod m-a-0-server-0-0: container engine: ImagePullBackOff: no such image",
        ),
        (
            {"containerStatuses": [waiting("CrashLoopBackOff", "", {"exitCode": 3, "message": "out of memory"})]},
            "CrashLoopBackOff",
            "it ended last with code 3: out of memory",
        ),
        (
            {"initContainerStatuses": [waiting("CrashLoopBackOff", "401", name="weights")]},
            "CrashLoopBackOff",
            "container weights: CrashLoopBackOff: 401",
        ),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3"}]},
            "Unschedulable",
            "0/3",
        ),
    ],
)
def test_what_needs_a_person_is_told_with_the_words_of_whoever_tried(world, status, reason, says):
    assert told(world, "Failed").status == "False"
    world.set_status(POD, {"phase": "Pending"} | status)
    world.settle()
    failed = told(world, "Failed")
    assert (failed.status, failed.reason) == ("True", reason)
    assert says in failed.message
    backend, other = world.one(Model, "m").status.backend_statuses
    assert (backend.reason, other.reason) == (reason, "Starting")
    world.set_status(POD, {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
    world.settle()
    assert told(world, "Failed").status == "False"


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing"])
def test_what_goes_by_itself_is_no_failure(world, reason):
    world.set_status(POD, {"phase": "Pending", "containerStatuses": [waiting(reason)]})
    world.settle()
    assert told(world, "Failed").status == "False"


def test_weights_are_ready_when_they_were_fetched_though_the_engine_still_loads(world):
    assert told(world, "WeightsReady").message == "backend a: being fetched or loaded by 1 pod"
    fetched = {"name": "weights", "state": {"terminated": {"exitCode": 0}}}
    world.set_status(POD, {"phase": "Pending", "initContainerStatuses": [fetched]})
    world.settle()
    assert told(world, "WeightsReady").status == "True"
    assert told(world, "Available").status == "False"


def test_a_backend_that_was_given_up_says_so_and_why():
    world = World()
    world.write(MODEL)
    world.settle()
    for _ in range(3):
        world.report(POD, phase="Failed", message="disk full")
        world.settle()
    failed = told(world, "Failed")
    assert failed.status == "True"
    assert "disk full" in failed.message
