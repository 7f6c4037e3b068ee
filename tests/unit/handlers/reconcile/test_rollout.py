"""From one template to the next: by groups, by roles, with surge, partition, pause, order and a way back."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.handlers.api.controllerrevision import ControllerRevision
from matrixinfer.handlers.api.rollout import RollingUpdate
from matrixinfer.handlers.reconcile.infer.balance import Bounds
from support.rolling import Rolling, role

BY_ROLE = {"type": "RoleRollingUpdate"}


def test_groups_are_replaced_one_after_the_other_and_no_more_is_missing_than_may_be():
    it = Rolling(replicas=3)
    it.settle()
    it.write(command="two")
    for _ in it.steps():
        assert len(it.ready()) >= 2
        assert len(it.groups()) <= 3
    assert set(it.commands().values()) == {"two"}
    assert it.names() == ["i-0-server-0-0", "i-1-server-0-0", "i-2-server-0-0"]


def test_with_surge_a_single_group_is_never_missing():
    it = Rolling(replicas=1, update={"maxUnavailable": 0, "maxSurge": 1})
    it.settle()
    it.write(command="two")
    for _ in it.steps():
        assert it.ready()
        assert len(it.groups()) <= 2
    assert it.commands() == {"i-1-server-0-0": "two"}
    it.write(command="three")
    it.settle()
    assert it.commands() == {"i-0-server-0-0": "three"}


def test_a_template_that_never_gets_ready_takes_no_more_than_it_may():
    it = Rolling(replicas=4, update={"maxUnavailable": 1, "maxSurge": 1})
    it.settle()
    it.write(command="broken")
    for _ in range(20):
        it.step(starts=False)
    assert len(it.ready()) == 3
    assert sorted(it.commands().values()) == ["broken"] * 2 + ["one"] * 3
    assert it.condition("UpdateInProgress").status == "True"
    it.write(command="one")
    it.settle()
    assert len(it.ready()) == 4
    assert it.condition("UpdateInProgress").reason == "UpToDate"


def test_a_partition_keeps_the_first_ones_as_they_were_also_when_they_come_again():
    it = Rolling(replicas=3, update={"partition": 2})
    it.settle()
    it.write(command="two")
    it.settle()
    assert list(it.commands().values()) == ["one", "one", "two"]
    assert (it.status.updated_replicas, it.status.current_replicas) == (1, 2)
    it.world.report("i-0-server-0-0", phase="Failed")
    it.world.now += 60
    it.settle()
    assert list(it.commands().values()) == ["one", "one", "two"]
    it.write(update={"partition": 0})
    it.settle()
    assert set(it.commands().values()) == {"two"}
    assert it.status.current_revision == it.status.update_revision


@pytest.mark.parametrize("strategy", [{}, BY_ROLE])
def test_while_it_is_paused_nothing_is_replaced_and_scaling_goes_on_with_what_there_is(strategy):
    it = Rolling(replicas=2, rolloutStrategy=strategy | {"paused": True})
    it.settle()
    it.write(command="two", replicas=3)
    it.settle()
    assert [it.commands()[f"i-{group}-server-0-0"] for group in (0, 1)] == ["one", "one"]
    assert len(it.ready()) == 3
    assert it.condition("UpdateInProgress").reason == "Paused"
    it.write(rolloutStrategy=strategy | {"paused": False})
    it.settle()
    assert set(it.commands().values()) == {"two"}


def test_by_role_only_instances_of_the_changed_role_are_replaced():
    roles = [role("prefill", 2), role("decode", workers=1)]
    it = Rolling(replicas=1, roles=roles, rolloutStrategy=BY_ROLE)
    it.settle()
    before = {pod.metadata.name: pod.metadata.uid for pod in it.pods()}
    it.write(roles=[roles[0], role("decode", workers=1, command="two")])
    it.settle()
    changed = {pod.metadata.name for pod in it.pods() if pod.metadata.uid != before[pod.metadata.name]}
    assert changed == {"i-0-decode-0-0", "i-0-decode-0-1"}
    assert it.status.updated_replicas == 1


def test_roles_are_replaced_in_their_order():
    roles = [role("prefill", 2), role("decode", 2)]
    it = Rolling(replicas=1, roles=roles, rolloutStrategy=BY_ROLE | {"roleOrder": ["decode", "prefill"]})
    it.settle()
    it.write(roles=[role("prefill", 2, command="two"), role("decode", 2, command="two")])
    for _ in it.steps():
        replaced = {name.split("-")[2] for name, command in it.commands().items() if command == "two"}
        if "prefill" in replaced:
            assert [command for name, command in it.commands().items() if "decode" in name] == ["two", "two"]
    assert set(it.commands().values()) == {"two"}


def test_a_whole_group_goes_when_one_of_its_roles_has_changed():
    it = Rolling(replicas=2, roles=[role("prefill"), role("decode")])
    it.settle()
    before = {pod.metadata.name: pod.metadata.uid for pod in it.pods()}
    it.write(roles=[role("prefill"), role("decode", command="two")])
    it.settle()
    assert all(pod.metadata.uid != before[pod.metadata.name] for pod in it.pods())


def test_scaling_and_how_it_is_rolled_out_replace_nothing():
    it = Rolling(replicas=2, roles=[role("prefill"), role("decode")])
    it.settle()
    before = {pod.metadata.name: pod.metadata.uid for pod in it.pods()}
    it.write(roles=[role("prefill", 2), role("decode")], replicas=3, update={"maxSurge": 1}, drainTimeout="1m")
    it.settle()
    after = {pod.metadata.name: pod.metadata.uid for pod in it.pods()}
    assert before.items() <= after.items()
    assert len(after) == 9


def test_the_way_back_is_a_former_template_that_is_still_kept():
    it = Rolling(replicas=1, revisionHistoryLimit=1)
    it.settle()
    first = it.status.current_revision
    for command in ("two", "three"):
        it.write(command=command)
        it.settle()
    kept = it.world.all(ControllerRevision)
    assert len(kept) == 2, "the present one, and one to go back to"
    it.write(command="two")
    it.settle()
    assert set(it.commands().values()) == {"two"}
    newest = max(it.world.all(ControllerRevision), key=lambda one: one.revision)
    assert newest.metadata.name == f"i-{it.status.current_revision}"
    it.write(command="one")
    it.settle()
    assert it.status.current_revision == first, "the same content has the same name"


@pytest.mark.parametrize(
    ("update", "replicas", "bounds"),
    [
        ({}, 4, Bounds(1, 0, 0)),
        ({"maxUnavailable": "25%", "maxSurge": "25%", "partition": "25%"}, 5, Bounds(1, 2, 2)),
        ({"maxUnavailable": 0}, 4, Bounds(1, 0, 0)),
        ({"maxUnavailable": "10%", "maxSurge": "0%"}, 4, Bounds(1, 0, 0)),
        ({"maxUnavailable": "10%", "maxSurge": "1%"}, 4, Bounds(0, 1, 0)),
    ],
)
def test_shares_are_of_the_replicas_and_something_can_always_change(update, replicas, bounds):
    assert Bounds.of(RollingUpdate.model_validate(update), replicas, paused=False) == bounds


numbers = st.fixed_dictionaries(
    {"maxUnavailable": st.integers(0, 3), "maxSurge": st.integers(0, 3), "partition": st.integers(0, 4)}
)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4), numbers, st.integers(1, 2), st.lists(st.booleans(), max_size=12))
def test_whatever_the_numbers_enough_groups_serve_not_too_many_are_there_and_it_ends(
    replicas, numbers, instances, hiccups
):
    it = Rolling(replicas=replicas, roles=[role("prefill", instances), role("decode")], update=numbers)
    it.settle()
    it.write(roles=[role("prefill", instances, command="two"), role("decode", command="two")])
    bounds = Bounds.of(RollingUpdate.model_validate(numbers), replicas, paused=False)
    for starts in [*hiccups, *[True] * 80]:
        it.step(starts=starts)
        ready = Counter(name.split("-")[1] for name in it.ready())
        assert sum(pods == instances + 1 for pods in ready.values()) >= replicas - bounds.unavailable
        assert len(it.groups()) <= replicas + bounds.surge
    assert it.world.decide(it.infer).is_empty
    assert len(it.ready()) == replicas * (instances + 1)
    old = [name for name, command in it.commands().items() if command == "one"]
    assert len(old) == min(numbers["partition"], replicas) * (instances + 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2), numbers, st.integers(1, 4), st.lists(st.booleans(), max_size=12))
def test_whatever_the_numbers_enough_instances_of_each_role_serve_and_it_ends(replicas, numbers, instances, hiccups):
    it = Rolling(replicas=replicas, roles=[role("prefill", instances)], rolloutStrategy=BY_ROLE, update=numbers)
    it.settle()
    it.write(roles=[role("prefill", instances, command="two")])
    bounds = Bounds.of(RollingUpdate.model_validate(numbers), instances, paused=False)
    for starts in [*hiccups, *[True] * 80]:
        it.step(starts=starts)
        for group in range(replicas):
            own = [name for name in it.names() if name.startswith(f"i-{group}-")]
            assert len(own) <= instances + bounds.surge
            assert len(set(own) & set(it.ready())) >= instances - bounds.unavailable
    assert it.world.decide(it.infer).is_empty
    old = [name for name, command in it.commands().items() if command == "one"]
    assert len(old) == replicas * min(numbers["partition"], instances)
