"""Laws of the ModelInfer reconciler over specs with workers, gangs, Volcano, plug-ins and topology: a plan that was
done leaves nothing to do, and what stands beside the pods is there when they are, and only then."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.podgroup import GROUP_NAME, PodGroup
from matrixinfer.handlers.api.service import Service
from support.rolling import Rolling, role

PLUGINS = (
    {"name": "lws-standard-labels", "scope": {"target": "Worker"}},
    {"name": "pod-metadata", "config": {"annotations": {"a": "b"}}, "scope": {"roles": ["decode"]}},
    {"name": "absent", "type": "Installed"},
)
topologies = st.fixed_dictionaries(
    {}, optional={name: st.just({"mode": "soft"}) for name in ("groupPolicy", "rolePolicy")}
)


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """Any: a ModelInfer's spec."""
    replicas = {name: draw(st.integers(0, 2)) for name in ("prefill", "decode")}
    command = draw(st.sampled_from(["one", "two"]))
    roles = [role(name, count, draw(st.integers(0, 1)), command) for name, count in replicas.items()]
    template: dict[str, Any] = {"roles": roles}
    if draw(st.booleans()):
        named = draw(st.sets(st.sampled_from(sorted(replicas))))
        template["gangPolicy"] = {"minRoleReplicas": {name: draw(st.integers(0, replicas[name])) for name in named}}
    if draw(st.booleans()):
        template["networkTopology"] = draw(topologies)
    return {
        "replicas": draw(st.integers(0, 2)),
        "template": template,
        "schedulerName": draw(st.sampled_from(["", "volcano"])),
        "plugins": draw(st.lists(st.sampled_from(PLUGINS), max_size=2)),
        "recoveryPolicy": draw(st.sampled_from(["None", "RoleRecreate", "InferGroupRecreate"])),
        "rolloutStrategy": {"type": draw(st.sampled_from(["InferGroupRollingUpdate", "RoleRollingUpdate"]))},
    }


steps = st.one_of(
    st.tuples(st.just("write"), specs()),
    st.tuples(st.just("volcano"), st.booleans()),
    st.tuples(st.just("ready"), st.integers(0, 20)),
    st.tuples(st.just("fail"), st.integers(0, 20)),
    st.tuples(st.just("take away"), st.integers(0, 20)),
    st.tuples(st.just("step"), st.booleans()),
    st.tuples(st.just("wait"), st.integers(1, 60)),
)


def do(it: Rolling, step: tuple[str, Any]) -> None:
    """Any: what the word needs."""
    pods = it.names()
    match step:
        case ("write", spec):
            it.write(**spec)
        case ("volcano", served):
            it.world.serves_pod_groups = served
        case ("ready", number) if pods:
            it.world.report(pods[number % len(pods)], phase="Running", ready=True)
        case ("fail", number) if pods:
            it.world.report(pods[number % len(pods)], phase="Failed")
        case ("take away", number):
            beside = [(kind, name) for kind in (Service, PodGroup) for name in it.world.names(kind)]
            if beside:
                it.world.remove(*beside[number % len(beside)])
        case ("step", starts):
            it.step(starts=starts)
        case ("wait", seconds):
            it.world.now += seconds


def bind(it: Rolling) -> None:
    """A Pod that nobody runs would be gone at once when it is deleted, which no plan foresees."""
    for pod in it.pods():
        if pod.spec.node_name is None:
            it.world.report(pod.metadata.name, phase="Pending")


@settings(max_examples=150, deadline=None)
@given(specs(), st.lists(steps, max_size=10))
def test_a_plan_that_was_done_leaves_nothing_to_do(spec, history):
    it = Rolling(**spec)
    for step in history:
        do(it, step)
    bind(it)
    it.look()
    assert it.world.decide(it.infer).is_empty


@settings(max_examples=100, deadline=None)
@given(specs(), st.lists(steps, max_size=10))
def test_at_rest_nobody_waits_and_beside_the_pods_is_what_they_need(spec, history):
    it = Rolling(**spec)
    for step in history:
        do(it, step)
    it.write(plugins=[])
    it.world.now += 4000
    it.settle()
    pods = it.world.all(Pod)
    assert len(pods) == it.infer.spec.pods
    assert it.status.available_replicas == (it.infer.spec.replicas if pods else 0)
    assert {pod.spec.subdomain for pod in pods} - {""} == set(it.world.names(Service))
    named = {pod.metadata.annotations[GROUP_NAME] for pod in pods if GROUP_NAME in pod.metadata.annotations}
    by_volcano = it.world.serves_pod_groups and it.infer.spec.scheduler_name == "volcano"
    groups = set(it.world.names(PodGroup))
    if by_volcano and pods:
        assert groups == {f"i-{pod.metadata.labels[labels.GROUP_INDEX]}" for pod in pods}
    else:
        assert groups <= named
