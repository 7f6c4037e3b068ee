"""What failed is made anew: with whom it belongs to, after growing pauses, and not for ever."""

from __future__ import annotations

import pytest

from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.times import timestamp
from support.rolling import Rolling, role

FIRST = "i-0-server-0-0"


def fail(it: Rolling, name: str = FIRST) -> None:
    it.world.report(name, phase="Failed", message="out of memory")


def pauses(it: Rolling, count: int) -> list[float]:
    """How long each of so many failures in a row, at once after the start, lies before it is made anew."""
    found = []
    for _ in range(count):
        fail(it)
        plan = it.world.decide(it.infer)
        assert plan.deletes == ()
        assert plan.again_after_s is not None
        found.append(plan.again_after_s)
        it.world.now += plan.again_after_s
        it.look()
        it.world.node_ends_pods()
        it.look()
        it.world.node_runs_pods()
    return found


def test_each_failure_in_a_row_is_left_longer():
    it = Rolling(replicas=1, recovery={"backoff": "2s", "maxBackoff": "10s"})
    it.look()
    it.world.node_runs_pods()
    assert pauses(it, 5) == [2, 4, 8, 10, 10]
    (failures,) = it.status.failures
    assert (failures.unit, failures.count) == ("0-server-0", 5)


def test_what_ran_long_is_made_anew_at_once_and_an_hour_without_a_failure_forgives():
    it = Rolling(replicas=1)
    it.look()
    it.world.node_runs_pods()
    pauses(it, 3)
    it.world.now += 3601
    it.look()
    assert it.status.failures == ()
    fail(it)
    assert [pod.metadata.name for pod in it.world.decide(it.infer).deletes] == [FIRST]


def test_after_its_budget_it_is_left_until_the_template_changes():
    it = Rolling(replicas=1, recovery={"budget": 2})
    it.look()
    it.world.node_runs_pods()
    pauses(it, 2)
    fail(it)
    it.world.now += 900
    it.look()
    plan = it.world.decide(it.infer)
    assert (plan.deletes, plan.again_after_s) == ((), None)
    degraded = it.condition("Degraded")
    assert (degraded.status, degraded.reason) == ("True", "CrashLoop")
    assert "0-server-0" in degraded.message
    it.write(command="two")
    it.settle()
    assert it.ready() == [FIRST]
    assert it.condition("Degraded").status == "False"


@pytest.mark.parametrize(
    ("policy", "anew"),
    [
        ("None", {"i-0-decode-0-1"}),
        ("RoleRecreate", {"i-0-decode-0-0", "i-0-decode-0-1"}),
        ("InferGroupRecreate", {"i-0-decode-0-0", "i-0-decode-0-1", "i-0-prefill-0-0"}),
    ],
)
@pytest.mark.parametrize("how", ["failed", "deleted by somebody"])
def test_what_belongs_together_goes_together(policy, anew, how):
    it = Rolling(replicas=2, roles=[role("prefill"), role("decode", workers=1)], recoveryPolicy=policy)
    it.settle()
    before = {pod.metadata.name: pod.metadata.uid for pod in it.pods()}
    it.world.now += 60
    if how == "failed":
        fail(it, "i-0-decode-0-1")
    else:
        it.world.remove(Pod, "i-0-decode-0-1")
        anew = {name for name in anew if "decode" in name}
    it.settle()
    assert {pod.metadata.name for pod in it.pods() if pod.metadata.uid != before[pod.metadata.name]} == anew
    assert len(it.ready()) == 6


@pytest.mark.parametrize("policy", ["None", "RoleRecreate", "InferGroupRecreate"])
@pytest.mark.parametrize("ready", [True, False])
def test_scaling_a_role_down_is_no_failure_of_its_group(policy, ready):
    it = Rolling(replicas=1, roles=[role("prefill", 2), role("decode")], recoveryPolicy=policy)
    it.settle()
    before = {pod.metadata.name: pod.metadata.uid for pod in it.pods()}
    it.world.report("i-0-prefill-1-0", phase="Running", ready=ready)
    it.write(roles=[role("prefill", 1), role("decode")])
    for _ in range(5):
        it.look()
        it.world.node_ends_pods()
        it.world.now += 5
    after = {pod.metadata.name: pod.metadata.uid for pod in it.pods()}
    assert after == {name: uid for name, uid in before.items() if name != "i-0-prefill-1-0"}


def restarted(it: Rolling, name: str, *, ended_s: float, unready_s: float) -> None:
    """One of its containers ended then and runs again; the Pod is not ready since then."""
    end = {"exitCode": 1, "finishedAt": timestamp(ended_s)}
    container = {"name": "c", "restartCount": 1, "lastState": {"terminated": end}}
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": timestamp(unready_s)}
    it.world.set_status(name, {"phase": "Running", "conditions": [ready], "containerStatuses": [container]})


def test_an_instance_of_several_pods_cannot_go_on_when_one_of_them_restarted():
    it = Rolling(replicas=1, roles=[role(workers=1)])
    it.settle()
    before = {pod.metadata.name: pod.metadata.uid for pod in it.pods()}
    it.world.now += 60
    restarted(it, "i-0-server-0-1", ended_s=it.world.now, unready_s=it.world.now)
    it.settle()
    assert all(pod.metadata.uid != before[pod.metadata.name] for pod in it.pods())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_pod_that_restarted_long_ago_or_alone_is_not_made_anew_for_being_unready(workers):
    it = Rolling(replicas=1, roles=[role(workers=workers)])
    it.settle()
    it.world.now += 600
    since = it.world.now if workers else it.world.now - 500
    restarted(it, FIRST, ended_s=it.world.now - 500, unready_s=since)
    assert it.world.decide(it.infer).deletes == ()


def test_what_is_done_and_what_failed_is_told():
    it = Rolling(replicas=1)
    plan = it.world.decide(it.infer)
    assert [(one.reason, one.message, one.is_warning) for one in plan.notices] == [("PodsMade", f"made {FIRST}", False)]
    it.settle()
    assert it.world.decide(it.infer).notices == ()
    it.world.now += 60
    fail(it)
    plan = it.world.decide(it.infer)
    assert [one.reason for one in plan.notices] == ["Failed", "PodsDeleted"]
    assert plan.notices[0].is_warning
    it.look()
    assert "Failed" not in [one.reason for one in it.world.decide(it.infer).notices]


def graceful(seconds: int) -> Rolling:
    template = {"roles": [role(workers=1)], "restartGracePeriodSeconds": seconds}
    it = Rolling(replicas=1, template=template)
    it.settle()
    it.world.now += 600
    return it


def test_within_its_grace_a_pod_may_recover_by_itself():
    it = graceful(60)
    restarted(it, FIRST, ended_s=it.world.now, unready_s=it.world.now)
    plan = it.world.decide(it.infer)
    assert (plan.deletes, plan.again_after_s) == ((), 60)
    it.world.now += 45
    assert it.world.decide(it.infer).again_after_s == 15, "counted by the pod's times, whoever looks"
    it.world.report(FIRST, phase="Running", ready=True)
    it.world.now += 60
    assert it.world.decide(it.infer).deletes == ()


def test_after_its_grace_it_goes_with_whom_it_belongs_to():
    it = graceful(60)
    restarted(it, FIRST, ended_s=it.world.now, unready_s=it.world.now)
    it.world.now += 60
    assert {pod.metadata.name for pod in it.world.decide(it.infer).deletes} == {FIRST, "i-0-server-0-1"}


def test_a_pod_that_ended_cannot_recover_and_has_no_grace():
    it = graceful(3600)
    fail(it)
    assert it.world.decide(it.infer).deletes


@pytest.mark.parametrize(("restarts", "left_s"), [(1, 50), (2, None)])
def test_one_that_was_never_ready_has_its_grace_from_its_first_end(restarts, left_s):
    """Ten seconds ago for the first time; or again, and nobody knows when the first time was."""
    it = graceful(60)
    restarted(it, FIRST, ended_s=it.world.now - 10, unready_s=it.world.now - 600)
    status = it.world.one(Pod, FIRST).to_json()["status"]
    status["containerStatuses"][0]["restartCount"] = restarts
    it.world.set_status(FIRST, status)
    plan = it.world.decide(it.infer)
    assert (plan.again_after_s, bool(plan.deletes)) == (left_s, left_s is None)
