"""Pods that shall go finish what they run: marked first, deleted when they are idle or their time is over."""

from __future__ import annotations

import pytest

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.reconcile.infer.drain import SETTLED_AFTER_S
from support.rolling import Rolling, role

LAST = "i-1-server-0-0"


@pytest.fixture
def it() -> Rolling:
    it = Rolling(replicas=2)
    it.settle()
    it.world.loads = dict.fromkeys(it.names(), 3)
    it.write(replicas=1)
    return it


def marked(it: Rolling) -> list[str]:
    return [pod.metadata.name for pod in it.pods() if labels.DRAIN_SINCE in pod.metadata.annotations]


def test_a_busy_pod_is_marked_and_deleted_when_it_is_idle(it):
    it.look()
    assert (marked(it), it.names()) == ([LAST], ["i-0-server-0-0", LAST])
    assert it.status.replicas == 1
    plan = it.world.decide(it.infer)
    assert plan.is_empty
    assert plan.again_after_s == 300.0
    it.world.now += 100
    assert it.world.decide(it.infer).deletes == ()
    it.world.loads[LAST] = 0
    assert [pod.metadata.name for pod in it.world.decide(it.infer).deletes] == [LAST]


def test_an_idle_pod_is_not_deleted_before_dispatchers_know_that_it_goes(it):
    it.world.loads[LAST] = 0
    it.look()
    assert marked(it) == [LAST]
    assert it.world.decide(it.infer).again_after_s == SETTLED_AFTER_S
    it.world.now += SETTLED_AFTER_S
    assert [pod.metadata.name for pod in it.world.decide(it.infer).deletes] == [LAST]


def test_one_that_never_gets_idle_or_is_not_heard_of_is_deleted_when_its_time_is_over(it):
    it.write(drainTimeout="30s")
    it.look()
    del it.world.loads[LAST]
    it.world.now += 29
    assert it.world.decide(it.infer).deletes == ()
    it.world.now += 1
    assert [pod.metadata.name for pod in it.world.decide(it.infer).deletes] == [LAST]


def test_who_serves_nobody_is_deleted_at_once(it):
    it.world.report(LAST, phase="Running", ready=False)
    assert [pod.metadata.name for pod in it.world.decide(it.infer).deletes] == [LAST]


def test_a_pod_without_an_agent_has_no_work_to_wait_for():
    it = Rolling(replicas=1, roles=[role() | {"entryTemplate": {"spec": {"containers": [{"name": "c"}]}}}])
    it.settle()
    it.write(replicas=0)
    assert len(it.world.decide(it.infer).deletes) == 1


def test_workers_stay_as_long_as_their_entry_has_work():
    it = Rolling(replicas=1, roles=[role(workers=1)])
    it.settle()
    it.world.loads = {"i-0-server-0-0": 1}
    it.write(replicas=0)
    it.look()
    assert marked(it) == it.names()
    it.world.now += 100
    assert it.world.decide(it.infer).deletes == ()
    it.world.loads = {"i-0-server-0-0": 0}
    assert len(it.world.decide(it.infer).deletes) == 2


def test_a_draining_one_holds_its_place_and_is_not_called_back(it):
    it.look()
    it.write(replicas=2)
    it.look()
    assert it.names() == ["i-0-server-0-0", LAST], "its hardware is not free yet, and neither is its name"
    it.world.loads[LAST] = 0
    it.world.now += SETTLED_AFTER_S
    it.settle()
    assert it.staying() == ["i-0-server-0-0", LAST]


def test_victims_are_who_is_not_ready_then_cheap_then_idle_then_last():
    it = Rolling(replicas=4)
    it.settle()
    it.world.loads = {f"i-{group}-server-0-0": load for group, load in enumerate((0, 2, 1, 2))}
    costly = it.world.one(Pod, "i-0-server-0-0")
    notes = costly.metadata.annotations | {labels.DELETION_COST: "7"}
    it.world.put(costly.model_copy(update={"metadata": costly.metadata.model_copy(update={"annotations": notes})}))
    it.world.report("i-1-server-0-0", phase="Running", ready=False)
    order: list[str] = []
    for replicas in (3, 2, 1):
        it.write(replicas=replicas)
        it.look()
        it.world.node_ends_pods()
        order += [name for name in [f"i-{n}-server-0-0" for n in range(4)] if name not in it.staying() + order]
    assert order == ["i-1-server-0-0", "i-2-server-0-0", "i-3-server-0-0"]
