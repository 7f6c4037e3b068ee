"""Laws of policies and bindings, over generated ones: a plan that was done leaves nothing to do; nothing is scaled; of
those that want one target at most one is accepted."""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matrixinfer.handlers.api.autoscalingpolicy import AutoScalingPolicy, AutoScalingPolicySpec
from matrixinfer.handlers.api.autoscalingpolicybinding import AutoScalingPolicyBinding, AutoScalingPolicyBindingSpec
from matrixinfer.handlers.api.conditions import is_true
from matrixinfer.handlers.api.meta import Metadata, Resource
from matrixinfer.handlers.api.modelinfer import ModelInfer
from support.resource_strategies import of_type
from support.resource_world import World

TEMPLATE = {"spec": {"containers": [{"name": "c"}]}}
KINDS: tuple[type[Resource], ...] = (AutoScalingPolicy, AutoScalingPolicyBinding)


def infer(name: str, replicas: int, roles: dict[str, int]) -> ModelInfer:
    made = [{"name": role, "replicas": count, "entryTemplate": TEMPLATE} for role, count in roles.items()]
    return ModelInfer.read({"metadata": {"name": name}, "spec": {"replicas": replicas, "template": {"roles": made}}})


# The names are those that the strategies of specs draw most.
names = st.sampled_from(["a", "b"])
roles = st.dictionaries(names, st.integers(0, 3), min_size=1, max_size=2)
objects = st.one_of(
    st.builds(infer, names, st.integers(0, 3), roles),
    st.builds(
        lambda name, spec: AutoScalingPolicy(metadata=Metadata(name=name), spec=spec),
        names,
        of_type(AutoScalingPolicySpec),
    ),
    st.builds(
        lambda name, spec: AutoScalingPolicyBinding(metadata=Metadata(name=name), spec=spec),
        st.sampled_from(["x", "y", "z"]),
        of_type(AutoScalingPolicyBindingSpec),
    ),
)
steps = st.lists(st.tuples(objects, st.booleans(), st.integers(0, 2)), max_size=10)


def world_after(history: list[tuple[Resource, bool, int]]) -> World:
    """Of each object: it is written, or removed where it is there; then so many seconds go by, and all is looked at."""
    world = World()
    for resource, is_removed, wait_s in history:
        if is_removed and resource.metadata.name in world.names(type(resource)):
            world.remove(type(resource), resource.metadata.name)
        else:
            world.put(resource)
        world.now += wait_s
        if wait_s:
            look(world)
    return world


def look(world: World) -> None:
    for kind in KINDS:
        for resource in world.all(kind):
            world.act(world.decide(resource))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps)
def test_a_plan_that_was_done_leaves_nothing_to_do_and_scales_nothing(history):
    world = world_after(history)
    asked = {one.metadata.name: one.spec for one in world.all(ModelInfer)}
    for kind in KINDS:
        for resource in world.all(kind):
            plan = world.decide(resource)
            assert (plan.applies, plan.deletes, plan.serving) == ((), (), {})
            world.act(plan)
            world.now += 1
            assert world.decide(world.one(kind, resource.metadata.name)).is_empty
    assert {one.metadata.name: one.spec for one in world.all(ModelInfer)} == asked


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps)
def test_a_target_belongs_to_one_binding_at_most_and_the_oldest_is_never_the_loser(history):
    world = world_after(history)
    look(world)
    bindings = sorted(world.all(AutoScalingPolicyBinding), key=lambda one: one.age_order)
    taken = [one for one in bindings if any(c.reason == "TargetTaken" for c in one.status.conditions)]
    assert not bindings or bindings[0] not in taken
    accepted = [one for one in bindings if is_true(one.status.conditions, "Accepted")]
    for one, other in itertools.combinations(accepted, 2):
        assert not any(claim.overlaps(theirs) for claim in one.claims for theirs in other.claims)
