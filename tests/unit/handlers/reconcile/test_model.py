"""Model → ModelInfer, ModelServer, ModelRoute, and what the Model says of them."""

from __future__ import annotations

import json

import pytest

from matrixinfer.bus.contracts.serving import Tokenizer
from matrixinfer.handlers.api.conditions import find
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.api.modelinfer import ModelInfer
from matrixinfer.handlers.api.modelroute import ModelRoute
from matrixinfer.handlers.api.modelserver import ModelServer
from matrixinfer.handlers.api.pod import Pod
from support.resource_world import World

MODEL = """
apiVersion: matrixinfer.ai/v1alpha1
kind: Model
metadata: {name: m}
spec:
  name: org/m
  backends:
    - {name: a, type: Simulated, minReplicas: 2, routeWeight: 90, config: {slots: 4}, env: [{name: X, value: y}]}
    - {name: b, type: LlamaCpp, modelURI: "hf://org/m", routeWeight: 10}
"""
ONE_BACKEND = MODEL[: MODEL.index("    - {name: b")]


@pytest.fixture
def world() -> World:
    world = World()
    world.write(MODEL)
    world.settle()
    return world


def test_each_backend_becomes_a_modelinfer_and_a_modelserver_and_all_share_one_route(world):
    assert world.names(ModelInfer) == ["m-a", "m-b"]
    assert world.names(ModelServer) == ["m-a", "m-b"]
    assert world.names(ModelRoute) == ["m"]
    assert world.names(Pod) == ["m-a-0-server-0-0", "m-a-1-server-0-0", "m-b-0-server-0-0"]


def test_the_route_leads_to_the_backends_by_their_weights(world):
    route = world.route("m")
    assert route.model == "org/m"
    assert [(target.modelserver, target.weight) for target in route.rules[0].targets] == [("m-a", 90), ("m-b", 10)]
    assert {target.model for target in route.rules[0].targets} == {"org/m"}


def test_a_backends_modelserver_has_its_tokenizer(world):
    world.write(ONE_BACKEND.replace("routeWeight: 90,", "tokenizer: {path: /models/m, chatTemplate: '{{ 1 }}'},"))
    world.settle()
    assert world.pool("m-a").tokenizer == Tokenizer("/models/m", "{{ 1 }}")


def test_the_agent_is_told_what_to_run_and_where_it_is(world):
    (container,) = world.one(Pod, "m-a-1-server-0-0").spec.containers
    assert container.command == ("matrixinfer", "agent")
    told = {variable.name: variable.value for variable in container.env}
    assert json.loads(told.pop("MATRIXINFER_AGENT_ENGINE_CONFIG")) == {"slots": 4}
    assert told == {
        "MATRIXINFER_AGENT_NAMESPACE": "default",
        "MATRIXINFER_AGENT_POD": "m-a-1-server-0-0",
        "MATRIXINFER_AGENT_ENGINE": "Simulated",
        "MATRIXINFER_AGENT_MODEL_URI": "",
        "MATRIXINFER_AGENT_SERVED_MODEL": "org/m",
        "GROUP_SIZE": "1",
        "ENTRY_ADDRESS": "m-a-1-server-0-0.default",
        "WORKER_INDEX": "0",
        "X": "y",
    }


def test_pods_carry_the_labels_by_which_they_are_found(world):
    labels = world.one(Pod, "m-a-1-server-0-0").metadata.labels
    revision = labels.pop("matrixinfer.ai/revision")
    assert revision
    assert labels.pop("matrixinfer.ai/role-revision") not in ("", revision)
    assert labels == {
        "matrixinfer.ai/model": "m",
        "matrixinfer.ai/backend": "a",
        "matrixinfer.ai/agent": "true",
        "matrixinfer.ai/modelinfer": "m-a",
        "matrixinfer.ai/group-index": "1",
        "matrixinfer.ai/role": "server",
        "matrixinfer.ai/role-index": "0",
        "matrixinfer.ai/entry": "true",
    }


def test_a_removed_backend_goes_with_all_it_had(world):
    world.node_runs_pods()
    world.write(ONE_BACKEND)
    world.settle()
    world.node_ends_pods()
    world.settle()
    assert world.names(ModelInfer) == ["m-a"]
    assert world.names(Pod) == ["m-a-0-server-0-0", "m-a-1-server-0-0"]
    assert world.pool("m-b") is None
    assert [target.modelserver for target in world.route("m").rules[0].targets] == ["m-a"]


def test_a_removed_model_leaves_nothing(world):
    world.node_runs_pods()
    world.settle()
    world.remove(Model, "m")
    world.settle()
    world.node_ends_pods()
    world.settle()
    assert [world.names(kind) for kind in (ModelInfer, ModelServer, ModelRoute, Pod)] == [[], [], [], []]
    assert world.serving == {}


def test_what_somebody_changed_in_a_child_is_put_right(world):
    server = world.one(ModelServer, "m-a")
    world.put(server.model_copy(update={"spec": server.spec.model_copy(update={"model": "other"})}))
    world.settle()
    assert world.one(ModelServer, "m-a").spec.model == "org/m"


def test_an_object_of_somebody_else_is_not_touched_and_the_model_says_so():
    world = World()
    foreign = "apiVersion: matrixinfer.ai/v1alpha1\nkind: ModelServer\nmetadata: {name: m-a}\n"
    foreign += "spec: {inferenceEngine: Simulated, workloadSelector: {matchLabels: {app: x}}}"
    world.write(foreign)
    world.write(MODEL)
    before = world.one(ModelServer, "m-a").spec
    world.settle()
    assert world.one(ModelServer, "m-a").spec == before
    initialized = find(world.one(Model, "m").status.conditions, "Initialized")
    assert (initialized.status, initialized.reason) == ("False", "NameTaken")
    assert "ModelServer m-a" in initialized.message


def test_a_model_is_active_as_soon_as_one_replica_is_ready_and_says_how_many(world):
    status = world.one(Model, "m").status
    assert find(status.conditions, "Initialized").status == "True"
    assert find(status.conditions, "Available").reason == "Starting"
    world.report("m-a-0-server-0-0", phase="Running", ready=True)
    world.settle()
    status = world.one(Model, "m").status
    active = find(status.conditions, "Available")
    assert active.status == "True"
    assert active.message == "backend a: 1 of 2 replicas ready; backend b: 0 of 1 replicas ready"
    assert {backend.name: backend.replicas for backend in status.backend_statuses} == {"a": 1, "b": 0}
    assert status.observed_generation == 1


def test_a_condition_keeps_the_time_since_which_it_holds(world):
    before = find(world.one(Model, "m").status.conditions, "Initialized").last_transition_time
    world.now += 100
    world.report("m-a-0-server-0-0", phase="Running", ready=True)
    world.settle()
    conditions = world.one(Model, "m").status.conditions
    assert find(conditions, "Initialized").last_transition_time == before
    assert (find(conditions, "Available").last_transition_time or "") > (before or "")


def test_of_two_models_with_one_served_name_the_younger_says_that_it_gets_no_requests():
    world = World()
    world.write(MODEL)
    world.now += 1
    world.write(MODEL.replace("metadata: {name: m}", "metadata: {name: z}"))
    world.settle()
    world.node_runs_pods()
    world.settle()
    active = find(world.one(Model, "z").status.conditions, "Available")
    assert (active.status, active.reason) == ("False", "NameTaken")
    assert "ModelRoute default/m" in active.message
    assert find(world.one(Model, "m").status.conditions, "Available").status == "True"
    assert world.route("z") is None
