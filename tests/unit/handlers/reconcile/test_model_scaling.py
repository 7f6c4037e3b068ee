"""A Model's policies become bindings, and the Model says whether they apply."""

from __future__ import annotations

from matrixinfer.handlers.api.autoscalingpolicybinding import AutoScalingPolicyBinding
from matrixinfer.handlers.api.conditions import find
from matrixinfer.handlers.api.meta import Condition
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.api.modelinfer import ModelInfer
from support.resource_world import World

POLICY = """
apiVersion: matrixinfer.ai/v1alpha1
kind: AutoScalingPolicy
metadata: {name: p}
spec: {metrics: [{metricName: waiting, targetValue: 4}]}
"""


def model(a: str = "", b: str = "", spec: str = "") -> str:
    return f"""
apiVersion: matrixinfer.ai/v1alpha1
kind: Model
metadata: {{name: m}}
spec:
  {spec}
  backends:
    - {{name: a, type: Simulated, minReplicas: 1, maxReplicas: 4, scalingCost: 3, {a}}}
    - {{name: b, type: Simulated, minReplicas: 0, maxReplicas: 0, {b}}}
"""


def world_of(*texts: str) -> World:
    world = World()
    for text in texts:
        world.write(text)
    world.settle()
    return world


def autoscaled(world: World) -> Condition | None:
    return find(world.one(Model, "m").status.conditions, "Autoscaled")


def test_a_backends_policy_scales_it_alone_between_its_bounds():
    world = world_of(POLICY, model(a="autoscalingPolicy: p"))
    (binding,) = world.all(AutoScalingPolicyBinding)
    alone = binding.spec.scaling_configuration
    assert alone is not None
    assert (binding.metadata.name, binding.spec.policy_ref.name) == ("m-a", "p")
    assert (alone.target.target_ref.name, alone.min_replicas, alone.max_replicas) == ("m-a", 1, 4)
    told = autoscaled(world)
    assert told is not None
    assert told.status == "True"


def test_a_models_policy_scales_all_that_can_be_together_by_their_costs():
    world = world_of(POLICY, model(spec="autoscalingPolicy: p\n  costExpansionRatePercent: 150"))
    (binding,) = world.all(AutoScalingPolicyBinding)
    together = binding.spec.optimizer_configuration
    assert together is not None
    assert together.cost_expansion_rate_percent == 150
    assert [(one.target.target_ref.name, one.cost, one.max_replicas) for one in together.params] == [("m-a", 3, 4)]


def test_a_model_without_policies_has_no_binding_and_says_nothing_of_it():
    world = world_of(model(b="autoscalingPolicy: p"))  # of a backend that never has a replica
    assert not world.all(AutoScalingPolicyBinding)
    assert autoscaled(world) is None


def test_a_policy_that_is_missing_is_told_and_comes():
    world = world_of(model(a="autoscalingPolicy: p"))
    told = autoscaled(world)
    assert told is not None
    assert told.status == "False"
    assert "binding m-a" in told.message
    world.write(POLICY)
    world.settle()
    told = autoscaled(world)
    assert told is not None
    assert told.status == "True"


def test_a_binding_goes_with_the_policy_that_the_model_no_longer_names():
    world = world_of(POLICY, model(a="autoscalingPolicy: p"))
    infer = world.one(ModelInfer, "m-a")
    world.put(infer.model_copy(update={"spec": infer.spec.model_copy(update={"replicas": 3})}))
    world.write(model())
    world.settle()
    assert not world.all(AutoScalingPolicyBinding)
    assert world.one(ModelInfer, "m-a").spec.replicas == 3
