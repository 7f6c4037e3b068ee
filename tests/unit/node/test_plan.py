"""The node's decisions: what is started, ended, forgotten and removed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.agents.node.backoff import Backoff
from matrixinfer.agents.node.plan import Action, Ask, Forget, Kill, Remove, Start, plan, plan_exit
from matrixinfer.agents.node.pods import Container, ContainerId, Pod, PodId
from matrixinfer.agents.node.states import (
    ContainerState,
    Process,
    ended,
    failed_to_start,
    first_life,
    next_life,
    replace_state,
)

NOW = 1_000.0
BACKOFF = Backoff(first_s=1.0, limit_s=60.0, reset_s=300.0)
POD = Pod(PodId("default", "p"), "u1", (Container("main", ("run",)),))
MAIN = ContainerId(POD.id, "main")


def running(uid: str = "u1", started_s: float = NOW - 10.0) -> ContainerState:
    return replace_state(first_life(uid, "life", 30.0, started_s), process=Process(4711, started_s))


def decide(pod: Pod | None, state: ContainerState | None, now: float = NOW) -> list[Action]:
    return plan({pod.id: pod} if pod else {}, {MAIN: state} if state else {}, BACKOFF, now)


def test_a_container_that_never_ran_is_started() -> None:
    assert decide(POD, None) == [Start(MAIN)]


def test_a_running_container_is_left_alone() -> None:
    assert decide(POD, running()) == []


@pytest.mark.parametrize(
    ("policy", "code", "restarts"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_the_restart_policy_decides_about_an_ended_container(policy: str, code: int, restarts: bool) -> None:
    pod = replace(POD, restart_policy=policy)  # type: ignore[arg-type]
    state = ended(running(), code, NOW - 1.0)
    assert decide(pod, state) == ([Start(MAIN)] if restarts else [])


def test_a_restart_waits_longer_after_each_failure() -> None:
    state, waits = ended(running(), 1, NOW), []
    for _ in range(8):
        wait_s = 0.0
        while not decide(POD, state, NOW + wait_s):
            wait_s += 0.5
        waits.append(wait_s)
        state = ended(next_life(state, "again", 30.0, BACKOFF, NOW), 1, NOW)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_a_healthy_run_makes_the_wait_short_again() -> None:
    tired = replace_state(running(started_s=NOW - 301.0), streak=9, restarts=9)
    state = ended(tired, 1, NOW)
    assert decide(POD, state, NOW + 0.9) == []
    assert decide(POD, state, NOW + 1.0) == [Start(MAIN)]
    assert next_life(state, "again", 30.0, BACKOFF, NOW + 1.0).streak == 1


def test_what_cannot_be_started_is_tried_again_later() -> None:
    state = failed_to_start(first_life("u1", "life", 30.0, NOW), "no such program", NOW)
    assert decide(POD, state, NOW + 0.5) == []
    assert decide(POD, state, NOW + 1.0) == [Start(MAIN)]


def test_a_deleted_pod_ends_gracefully_then_by_force_then_goes() -> None:
    deleted = replace(POD, is_deleting=True, grace_s=5.0)
    assert decide(deleted, running()) == [Ask(MAIN, 5.0)]
    asked = replace_state(running(), stop_asked_s=NOW, signalled_s=NOW, grace_s=5.0)
    assert decide(deleted, asked, NOW + 4.9) == []
    assert decide(deleted, asked, NOW + 5.0) == [Kill(MAIN)]
    killed = replace_state(asked, killed_s=NOW + 5.0)
    assert decide(deleted, killed, NOW + 6.0) == []
    assert decide(deleted, ended(killed, -9, NOW + 6.0), NOW + 6.0) == [Forget(MAIN), Remove(POD.id)]


def test_a_process_without_a_pod_is_ended_and_forgotten() -> None:
    assert decide(None, running()) == [Ask(MAIN, 30.0)]
    assert decide(None, ended(running(), 0, NOW)) == [Forget(MAIN)]


def test_a_new_pod_of_the_same_name_starts_after_the_old_one_has_ended() -> None:
    old = running(uid="u0")
    assert decide(POD, old) == [Ask(MAIN, 30.0)]
    assert decide(POD, ended(old, 0, NOW)) == [Forget(MAIN)]
    assert decide(POD, None) == [Start(MAIN)]


def test_the_nodes_exit_gives_no_container_longer_than_its_limit() -> None:
    pods, asked = {POD.id: POD}, replace_state(running(), stop_asked_s=NOW, signalled_s=NOW)
    assert plan_exit(pods, {MAIN: running()}, 3.0, NOW) == [Ask(MAIN, 3.0)]
    assert plan_exit({}, {MAIN: running()}, 3.0, NOW) == [Ask(MAIN, 3.0)], "though nobody knows its Pod"
    assert plan_exit(pods, {MAIN: asked}, 3.0, NOW + 2.9) == []
    assert plan_exit(pods, {MAIN: asked}, 3.0, NOW + 3.0) == [Kill(MAIN)]
    assert plan_exit(pods, {MAIN: ended(running(), 0, NOW)}, 3.0, NOW) == []


def test_what_is_known_of_a_pod_stays_until_nothing_of_it_runs_and_its_namesake_waits_as_long() -> None:
    other = ContainerId(POD.id, "other")
    states = {MAIN: ended(running(uid="u0"), 0, NOW), other: replace_state(running(uid="u0"), stop_asked_s=NOW)}
    namesake = replace(POD, containers=(*POD.containers, Container("new", ("run",))))
    for pods in ({}, {POD.id: replace(POD, uid="u0", is_deleting=True)}, {POD.id: namesake}):
        signals = plan(pods, states, BACKOFF, NOW + 1.0)
        assert not any(isinstance(one, Forget | Start | Remove) for one in signals)
    states[other] = ended(states[other], -15, NOW)
    assert plan({POD.id: namesake}, states, BACKOFF, NOW + 1.0) == [Forget(MAIN), Forget(other)]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[PodId, Pod], dict[ContainerId, ContainerState]]:
    ids = [PodId("default", name) for name in "abc"]
    names = st.lists(st.sampled_from(["one", "two"]), min_size=1, max_size=2, unique=True)
    pods = {}
    for id in draw(st.lists(st.sampled_from(ids), unique=True)):
        containers = tuple(Container(name, ("run",)) for name in draw(names))
        uid, gone = draw(st.sampled_from(["u1", "u2"])), draw(st.booleans())
        pods[id] = Pod(id, uid, containers, is_deleting=gone, restart_policy=draw(st.sampled_from(["Always", "Never"])))
    states = {}
    for id in ids:
        for name in ("one", "two"):
            if draw(st.booleans()):
                state = running(draw(st.sampled_from(["u1", "u2"])))
                states[ContainerId(id, name)] = ended(state, 1, NOW - 100.0) if draw(st.booleans()) else state
    return pods, states


@given(worlds())
def test_acting_on_the_plan_settles_with_exactly_the_wanted_containers(
    world: tuple[dict[PodId, Pod], dict[ContainerId, ContainerState]],
) -> None:
    pods, states = world
    for _ in range(6):
        for action in plan(pods, states, BACKOFF, NOW):
            act(action, pods, states)
    assert plan(pods, states, BACKOFF, NOW) == []
    assert not any(pod.is_deleting for pod in pods.values())
    wanted = {ContainerId(id, container.name): pod for id, pod in pods.items() for container in pod.containers}
    assert states.keys() == wanted.keys()
    assert all(states[id].uid == pod.uid for id, pod in wanted.items())
    assert all(states[id].is_running for id, pod in wanted.items() if pod.restart_policy == "Always")


def act(action: Action, pods: dict[PodId, Pod], states: dict[ContainerId, ContainerState]) -> None:
    """Every action succeeds at once; a container that was asked to end ends."""
    match action:
        case Start(id):
            assert id not in states or not states[id].is_running, "never two processes of one container"
            states[id] = running(pods[id.pod].uid)
        case Ask(id) | Kill(id):
            states[id] = ended(replace_state(states[id], stop_asked_s=NOW), -15, NOW)
        case Forget(id):
            assert not states[id].is_running, "a running process must not be forgotten"
            del states[id]
        case Remove(id):
            del pods[id]
