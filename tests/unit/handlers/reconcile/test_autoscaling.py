"""AutoScalingPolicy and AutoScalingPolicyBinding: what they say of themselves, and of what they refer to."""

from __future__ import annotations

import pytest

from matrixinfer.handlers.api.autoscalingpolicy import AutoScalingPolicy
from matrixinfer.handlers.api.autoscalingpolicybinding import AutoScalingPolicyBinding
from matrixinfer.handlers.api.conditions import find
from matrixinfer.handlers.api.meta import Condition
from matrixinfer.handlers.api.modelinfer import MOST_PODS, ModelInfer
from support.resource_world import World

HEAD = "apiVersion: matrixinfer.ai/v1alpha1\n"


def infer(name: str = "llm", replicas: int = 2, namespace: str = "default", **roles: int) -> str:
    container = "{spec: {containers: [{name: c}]}}"
    listed = ", ".join(
        f"{{name: {role}, replicas: {count}, entryTemplate: {container}}}"
        for role, count in (roles or {"server": 1}).items()
    )
    return f"""{HEAD}
kind: ModelInfer
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{replicas: {replicas}, template: {{roles: [{listed}]}}}}
"""


def policy(name: str = "load", namespace: str = "default", behavior: str = "{}") -> str:
    return f"""{HEAD}
kind: AutoScalingPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  metrics: [{{metricName: waiting, targetValue: 4}}, {{metricName: cache, targetValue: 800m}}]
  behavior: {behavior}
"""


def scaling(
    name: str = "b", target: str = "llm", low: int = 1, high: int = 3, *, policy: str = "load", **more: str
) -> str:
    fields = "".join(f", {key}: {value}" for key, value in more.items())
    return f"""{HEAD}
kind: AutoScalingPolicyBinding
metadata: {{name: {name}}}
spec:
  policyRef: {{name: {policy}}}
  scalingConfiguration:
    {{target: {{targetRef: {{name: {target}}}{fields}}}, minReplicas: {low}, maxReplicas: {high}}}
"""


def split(
    name: str = "b", target: str = "llm", roles: str = "{prefill: {maxReplicas: 3}, decode: {maxReplicas: 3}}"
) -> str:
    return f"""{HEAD}
kind: AutoScalingPolicyBinding
metadata: {{name: {name}}}
spec:
  policyRef: {{name: load}}
  disaggregatedConfiguration: {{targetRef: {{name: {target}}}, roles: {roles}}}
"""


def optimizer(*targets: str) -> str:
    params = ", ".join(f"{{target: {{targetRef: {{name: {name}}}}}, maxReplicas: 3}}" for name in targets)
    return f"""{HEAD}
kind: AutoScalingPolicyBinding
metadata: {{name: b}}
spec: {{policyRef: {{name: load}}, optimizerConfiguration: {{params: [{params}]}}}}
"""


def world_of(*manifests: str) -> World:
    """Each is a second younger than the one before it."""
    world = World()
    for manifest in manifests:
        world.write(manifest)
        world.now += 1
    world.settle()
    return world


def binding_of(world: World, name: str = "b") -> AutoScalingPolicyBinding:
    return world.one(AutoScalingPolicyBinding, name)


def told(world: World, type_: str, name: str = "b") -> tuple[str, str, str]:
    return _said(find(binding_of(world, name).status.conditions, type_))


def _said(condition: Condition | None) -> tuple[str, str, str]:
    assert condition is not None
    return condition.status, condition.reason, condition.message


def test_a_binding_whose_references_exist_is_accepted_and_counts_what_is_asked_for():
    world = world_of(infer(replicas=2), policy(), scaling())
    assert told(world, "Accepted") == ("True", "Accepted", "scales ModelInfer llm")
    assert told(world, "PolicyFound") == ("True", "Found", "AutoScalingPolicy load exists")
    assert told(world, "TargetFound")[0] == "True"
    assert told(world, "WithinBounds")[0] == "True"
    (target,) = binding_of(world).status.targets
    assert (target.name, target.role, target.current_replicas, target.mode) == ("llm", "", 2, "Stable")
    assert binding_of(world).status.observed_generation == binding_of(world).metadata.generation == 1


def test_a_binding_without_its_policy_says_which_one_it_needs_until_it_comes():
    world = world_of(infer(), policy(namespace="elsewhere"), scaling())
    missing = "no AutoScalingPolicy load in namespace default"
    assert told(world, "PolicyFound") == ("False", "PolicyNotFound", missing)
    world.write(policy())
    world.settle()
    assert told(world, "PolicyFound")[0] == "True"


def test_a_target_of_another_namespace_does_not_exist_for_a_binding():
    world = world_of(infer(namespace="elsewhere"), policy(), scaling())
    missing = "no ModelInfer llm in namespace default"
    assert told(world, "TargetFound") == ("False", "ModelInferNotFound", missing)
    assert told(world, "WithinBounds") == ("False", "NoTarget", "no target exists")
    assert binding_of(world).status.targets == ()


def test_a_binding_says_which_of_its_targets_are_missing_and_counts_the_others():
    world = world_of(infer("a"), policy(), optimizer("a", "x", "y"))
    assert told(world, "TargetFound")[2] == "no ModelInfer x, y in namespace default"
    assert [target.name for target in binding_of(world).status.targets] == ["a"]
    assert told(world, "WithinBounds")[0] == "True"


def test_a_role_that_the_target_has_not_is_missing():
    world = world_of(infer(prefill=1, other=1), policy(), split())
    assert told(world, "TargetFound") == ("False", "RoleNotFound", "no role decode of ModelInfer llm")
    assert [target.role for target in binding_of(world).status.targets] == ["prefill"]


def test_roles_are_counted_in_each_group():
    world = world_of(infer(replicas=2, prefill=1, decode=3), policy(), split())
    counts = {target.role: target.current_replicas for target in binding_of(world).status.targets}
    assert counts == {"prefill": 1, "decode": 3}
    assert told(world, "Accepted")[2] == "scales role decode of ModelInfer llm, role prefill of ModelInfer llm"


@pytest.mark.parametrize(("replicas", "low", "high"), [(0, 1, 3), (4, 1, 3), (2, 3, 3)])
def test_replicas_outside_the_bounds_are_told_and_left_as_they_are(replicas, low, high):
    world = world_of(infer(replicas=replicas), policy(), scaling(low=low, high=high))
    message = f"ModelInfer llm has {replicas} (expected {low} to {high})"
    assert told(world, "WithinBounds") == ("False", "OutOfBounds", message)
    assert world.one(ModelInfer, "llm").spec.replicas == replicas
    world.write(infer(replicas=low))
    world.settle()
    assert told(world, "WithinBounds")[0] == "True"


@pytest.mark.parametrize(
    ("binding", "pods"),
    [
        (scaling(high=501), 501 * (1 + 3)),
        (split(roles="{prefill: {maxReplicas: 400}, decode: {maxReplicas: 601}}"), 2 * (400 + 601)),
    ],
)
def test_upper_bounds_that_allow_more_pods_than_a_modelinfer_may_have_are_told(binding, pods):
    world = world_of(infer(replicas=2, prefill=1, decode=3), policy(), binding)
    message = f"ModelInfer llm has {pods} pods at maxReplicas (expected at most {MOST_PODS}); lower maxReplicas"
    assert told(world, "WithinBounds") == ("False", "TooManyPods", message)


def test_upper_bounds_that_allow_as_many_pods_as_a_modelinfer_may_have_are_good():
    world = world_of(infer(replicas=2, prefill=1, decode=3), policy(), scaling(high=MOST_PODS // 4))
    assert told(world, "WithinBounds")[0] == "True"


def test_zero_replicas_are_told_as_a_number_too():
    world = world_of(infer(replicas=0), policy(), scaling(low=0))
    assert told(world, "WithinBounds")[0] == "True"
    assert binding_of(world).to_json()["status"]["targets"] == [{"name": "llm", "currentReplicas": 0}]


def test_the_older_of_two_bindings_of_a_target_wins_and_its_end_makes_way():
    world = world_of(infer(), policy(), scaling("z"), scaling("a"))
    assert told(world, "Accepted", "z")[0] == "True"
    loser = "the older binding z scales ModelInfer llm; delete one of the bindings or change its target"
    assert told(world, "Accepted", "a") == ("False", "TargetTaken", loser)
    world.remove(AutoScalingPolicyBinding, "z")
    world.settle()
    assert told(world, "Accepted", "a")[0] == "True"


def test_a_binding_that_lost_one_of_its_targets_keeps_nobody_from_the_others():
    one, other = ("{prefill: {maxReplicas: 3}}", "{decode: {maxReplicas: 3}}")
    both = "{prefill: {maxReplicas: 3}, decode: {maxReplicas: 3}}"
    bindings = split("first", roles=one), split("second", roles=both), split("third", roles=other)
    world = world_of(infer(prefill=1, decode=1), policy(), *bindings)
    assert [told(world, "Accepted", name)[0] for name in ("first", "second", "third")] == ["True", "False", "True"]
    world.remove(AutoScalingPolicyBinding, "first")
    world.settle()
    assert [told(world, "Accepted", name)[0] for name in ("second", "third")] == ["True", "False"]


def test_a_binding_that_is_on_its_way_out_holds_no_target():
    world = world_of(infer(), policy(), scaling("z"), scaling("a"))
    world.mark_deleted(AutoScalingPolicyBinding, "z")
    world.settle()
    assert told(world, "Accepted", "a")[0] == "True"


def test_groups_and_roles_of_one_modelinfer_belong_to_one_binding_and_different_roles_may_belong_to_two():
    both = infer(prefill=1, decode=1)
    of_groups = world_of(both, policy(), split("first"), scaling("second"))
    assert told(of_groups, "Accepted", "second")[1] == "TargetTaken"
    one, other = ("{prefill: {maxReplicas: 3}}", "{decode: {maxReplicas: 3}}")
    of_roles = world_of(both, policy(), split("first", roles=one), split("second", roles=other))
    assert told(of_roles, "Accepted", "second")[0] == "True"
    same = world_of(both, policy(), scaling("first", roleName="decode"), split("second", roles=other))
    assert told(same, "Accepted", "second")[2].startswith(
        "the older binding first scales role decode of ModelInfer llm;"
    )


def test_a_source_of_a_metric_that_decides_nothing_is_told():
    world = world_of(infer(), policy(), scaling(metricSources="{waitng: {pod: {}}, cache: {pod: {}}}"))
    message = "metricSources of waitng, but no such metric decides there; correct the name or remove it"
    assert told(world, "Accepted") == ("False", "UnknownMetric", message)
    world.remove(AutoScalingPolicy, "load")
    world.settle()
    assert told(world, "Accepted")[0] == "True"


def test_a_role_with_metrics_of_its_own_has_sources_for_those():
    own = (
        "{decode: {maxReplicas: 3, metrics: [{metricName: tokens, targetValue: 1k}], metricSources: {NAME: {pod: {}}}}}"
    )
    good = world_of(infer(decode=1), policy(), split(roles=own.replace("NAME", "tokens")))
    assert told(good, "Accepted")[0] == "True"
    bad = world_of(infer(decode=1), policy(), split(roles=own.replace("NAME", "waiting")))
    assert told(bad, "Accepted")[1] == "UnknownMetric"


def test_what_was_decided_about_a_target_outlives_a_look_at_it():
    world = world_of(infer(), policy(), scaling())
    binding = binding_of(world)
    decided = {"desired_replicas": 3, "mode": "Panic", "last_scale_time": "2027-01-15T08:00:00Z"}
    (target,) = binding.status.targets
    status = binding.status.model_copy(update={"targets": (target.model_copy(update=decided),)})
    world.write(infer(replicas=3))
    plan = world.decide(binding.model_copy(update={"status": status}))
    assert isinstance(plan.status, AutoScalingPolicyBinding)
    (target,) = plan.status.status.targets
    assert target.current_replicas == 3
    assert {name: getattr(target, name) for name in decided} == decided


def test_a_policy_counts_the_bindings_of_its_namespace_that_name_it():
    elsewhere = scaling("far").replace("{name: far}", "{name: far, namespace: elsewhere}")
    other = scaling("other", "c", policy="another")
    world = world_of(policy(), scaling("one", "a"), scaling("two", "b"), other, elsewhere)
    status = world.one(AutoScalingPolicy, "load").status
    assert (status.bindings, status.observed_generation) == (2, 1)
    world.remove(AutoScalingPolicyBinding, "one")
    world.settle()
    assert world.one(AutoScalingPolicy, "load").status.bindings == 1


NO_UP = "scaleUp: {stablePolicy: {instances: 0, percent: 0}, panicPolicy: {panicModeHold: 0s}}"
NO_DOWN = "scaleDown: {percent: 0}"


@pytest.mark.parametrize(
    ("behavior", "status", "reason", "message"),
    [
        ("{}", "True", "Accepted", "scales by cache, waiting"),
        (f"{{{NO_UP}}}", "True", "OnlyDown", "scales by cache, waiting, never up: every step of scaleUp is 0"),
        (f"{{{NO_DOWN}}}", "True", "OnlyUp", "scales by cache, waiting, never down: every step of scaleDown is 0"),
        (
            f"{{{NO_UP}, {NO_DOWN}}}",
            "False",
            "NeverScales",
            "every step of scaleUp and scaleDown is 0: give instances or percent a value above 0",
        ),
        ("{scaleDown: {selectPolicy: And}}", "True", "OnlyUp", None),
        ("{scaleUp: {stablePolicy: {instances: 0, selectPolicy: And}}}", "True", "Accepted", None),
    ],
)
def test_a_policy_says_whether_it_can_change_anything(behavior, status, reason, message):
    world = world_of(policy(behavior=behavior))
    said = _said(find(world.one(AutoScalingPolicy, "load").status.conditions, "Accepted"))
    assert said[:2] == (status, reason)
    assert message is None or said[2] == message
