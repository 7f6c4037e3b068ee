"""The node's decisions about init containers, sidecars, probes and what runs before a stop."""

from __future__ import annotations

from dataclasses import replace

import pytest

from matrixinfer.agents.node.backoff import Backoff
from matrixinfer.agents.node.plan import (
    NOTHING_SEEN,
    Action,
    Ask,
    Forget,
    Kill,
    Remove,
    Seen,
    Start,
    Term,
    plan,
    plan_exit,
)
from matrixinfer.agents.node.pods import Container, ContainerId, Pod, PodId
from matrixinfer.agents.node.probes import Health
from matrixinfer.agents.node.states import ContainerState, Process, ended, first_life, replace_state
from matrixinfer.agents.node.status import all_ready, pod_status

NOW = 1_000.0
BACKOFF = Backoff(first_s=1.0, limit_s=60.0, reset_s=300.0)
FIRST, SECOND = Container("first", ("a",), is_init=True), Container("second", ("b",), is_init=True)
SIDECAR = Container("beside", ("s",), is_init=True, is_sidecar=True)
MAIN = Container("main", ("run",))
POD = Pod(PodId("default", "p"), "u1", (MAIN,), init_containers=(FIRST, SIDECAR, SECOND))


def id_of(container: Container) -> ContainerId:
    return ContainerId(POD.id, container.name)


def running(life: str = "life", *, stop_asked_s: float | None = None) -> ContainerState:
    first = first_life("u1", life, 30.0, NOW - 10.0)
    return replace_state(first, process=Process(4711, NOW - 10.0), stop_asked_s=stop_asked_s)


def asked_to_end() -> ContainerState:
    return replace_state(running(stop_asked_s=NOW), signalled_s=NOW)


def done(code: int = 0) -> ContainerState:
    return ended(running(), code, NOW - 5.0)


def decide(
    states: dict[Container, ContainerState], pod: Pod = POD, seen: Seen = NOTHING_SEEN, now: float = NOW
) -> list[Action]:
    return plan({pod.id: pod}, {id_of(one): state for one, state in states.items()}, BACKOFF, now, seen)


def phase(states: dict[Container, ContainerState], pod: Pod = POD) -> str:
    known = {id_of(one): state for one, state in states.items()}
    told: str = pod_status(pod, known, False, BACKOFF, NOW)["phase"]
    return told


def test_init_containers_run_one_after_the_other_and_a_sidecar_goes_on_beside_them():
    states: dict[Container, ContainerState] = {}
    for expected, then in ((FIRST, done()), (SIDECAR, running()), (SECOND, done()), (MAIN, running())):
        assert decide(states) == [Start(id_of(expected))]
        assert phase(states) == "Pending"
        states[expected] = replace_state(then, ending=None, process=Process(1, 0.0))
        if not expected.is_sidecar and expected.is_init:
            assert decide(states) == []  # it has not ended
        states[expected] = then
    assert decide(states) == []
    assert phase(states) == "Running"


def test_a_sidecar_with_a_startup_probe_is_waited_for():
    states = {FIRST: done(), SIDECAR: running("s")}
    assert decide(states, seen=Seen({"s": Health(started=False, ready=False)})) == []
    assert decide(states, seen=Seen({"s": Health()})) == [Start(id_of(SECOND))]


@pytest.mark.parametrize(("policy", "again"), [("Always", True), ("OnFailure", True), ("Never", False)])
def test_an_init_container_that_failed_is_started_again_by_the_policy(policy, again):
    pod = replace(POD, restart_policy=policy)
    assert decide({FIRST: done(1)}, pod) == ([Start(id_of(FIRST))] if again else [])
    assert phase({FIRST: done(1)}, pod) == ("Pending" if again else "Failed")


def test_when_an_init_container_has_failed_for_good_its_sidecars_go():
    pod = replace(POD, restart_policy="Never")
    states = {FIRST: done(), SIDECAR: running(), SECOND: done(1)}
    assert decide(states, pod) == [Ask(id_of(SIDECAR), pod.grace_s)]
    assert phase(states, pod) == "Pending", "the end is told when nothing runs any more"
    states[SIDECAR] = ended(asked_to_end(), -15, NOW)
    assert decide(states, pod) == []
    assert phase(states, pod) == "Failed"


def test_an_init_container_that_has_done_its_work_never_runs_again():
    assert decide({FIRST: done(), SIDECAR: running(), SECOND: done(), MAIN: done(1)}) == [Start(id_of(MAIN))]


def test_a_sidecar_is_started_again_whatever_the_policy_and_goes_when_the_others_have_ended():
    pod = replace(POD, restart_policy="Never")
    before = {FIRST: done(), SECOND: done()}
    assert decide(before | {SIDECAR: done(0), MAIN: running()}, pod) == [Start(id_of(SIDECAR))]
    assert decide(before | {SIDECAR: running(), MAIN: done(0)}, pod) == [Ask(id_of(SIDECAR), pod.grace_s)]
    assert phase(before | {SIDECAR: running(), MAIN: done(0)}, pod) == "Running"
    over = before | {SIDECAR: ended(asked_to_end(), -15, NOW), MAIN: done(0)}
    assert decide(over, pod) == []
    assert phase(over, pod) == "Succeeded"


def test_a_deleted_pod_ends_its_sidecars_last():
    pod = replace(POD, is_deleting=True, grace_s=5.0)
    before = {FIRST: done(), SECOND: done()}
    assert Ask(id_of(SIDECAR), 5.0) not in decide(before | {SIDECAR: running(), MAIN: asked_to_end()}, pod)
    assert Ask(id_of(SIDECAR), 5.0) in decide(before | {SIDECAR: running(), MAIN: done()}, pod)
    assert decide({SIDECAR: done()}, pod) == [Forget(id_of(SIDECAR)), Remove(pod.id)]


def test_a_container_whose_probe_failed_is_ended_and_then_started_again():
    pod = Pod(POD.id, "u1", (MAIN,), grace_s=5.0)
    failing = Seen({"life": Health(failing=True)})
    assert decide({MAIN: running()}, pod, failing) == [Ask(id_of(MAIN), 5.0)]
    asked = replace_state(asked_to_end(), grace_s=5.0)
    assert decide({MAIN: asked}, pod) == []  # its probes are over, and it still goes
    assert decide({MAIN: asked}, pod, now=NOW + 5.0) == [Kill(id_of(MAIN))]
    assert decide({MAIN: ended(asked, -9, NOW)}, pod, now=NOW + 1.0) == [Start(id_of(MAIN))]


def test_a_probe_may_say_how_long_the_container_that_it_ends_may_take():
    pod = Pod(POD.id, "u1", (MAIN,), grace_s=5.0)
    failing = Seen({"life": Health(failing=True, grace_s=1.0)})
    assert decide({MAIN: running()}, pod, failing) == [Ask(id_of(MAIN), 1.0)]
    assert decide({MAIN: replace_state(asked_to_end(), grace_s=1.0)}, pod, now=NOW + 1.0) == [Kill(id_of(MAIN))]


LATER = Container("later", ("run",), is_init=True, is_sidecar=True)


def test_sidecars_go_in_reverse_order_within_the_time_of_their_pod():
    pod = replace(POD, init_containers=(SIDECAR, LATER), is_deleting=True, grace_s=5.0)
    ending = replace_state(asked_to_end(), grace_s=5.0)
    gone = ended(ending, -15, NOW + 4.0)
    states = {SIDECAR: running("s"), LATER: running("l"), MAIN: gone}
    assert decide(states, pod, now=NOW + 4.0) == [Ask(id_of(LATER), 5.0)]
    states[LATER] = replace_state(running("l", stop_asked_s=NOW + 4.0), signalled_s=NOW + 4.0, grace_s=5.0)
    assert decide(states, pod, now=NOW + 5.9) == [], "the Pod's time is over, and it has its two seconds"
    assert decide(states, pod, now=NOW + 6.0) == [Kill(id_of(LATER))]
    states[LATER] = ended(states[LATER], -9, NOW + 6.0)
    assert decide(states, pod, now=NOW + 6.0) == [Ask(id_of(SIDECAR), 5.0)]


def time_to_end(pod: Pod, states: dict[ContainerId, ContainerState], *, is_exit: bool) -> float:
    """Of containers that end only when they are killed, in steps of a quarter of a second."""
    for step in range(1000):
        now = NOW + step / 4
        for _ in range(3):
            if is_exit:
                actions = plan_exit({pod.id: pod}, states, pod.grace_s, now)
            else:
                actions = plan({pod.id: pod}, states, BACKOFF, now)
            for action in actions:
                if isinstance(action, Ask):
                    states[action.id] = replace_state(
                        states[action.id], stop_asked_s=now, signalled_s=now, grace_s=action.grace_s
                    )
                elif isinstance(action, Kill):
                    states[action.id] = ended(replace_state(states[action.id], killed_s=now), -9, now)
        if not any(state.is_running for state in states.values()):
            return now - NOW
    raise AssertionError("it never ends")


@pytest.mark.parametrize("is_exit", [False, True])
@pytest.mark.parametrize("grace_s", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("sidecars", [0, 1, 2, 4])
def test_a_pod_has_its_grace_once_however_many_sidecars_it_has(sidecars, grace_s, is_exit):
    row = tuple(Container(f"s{i}", ("s",), is_init=True, is_sidecar=True) for i in range(sidecars))
    pod = Pod(POD.id, "u1", (MAIN,), init_containers=row, is_deleting=not is_exit, grace_s=grace_s)
    states = {id_of(one): running(one.name) for one in pod.all_containers}
    assert grace_s <= time_to_end(pod, states, is_exit=is_exit) <= grace_s + 2.0 * sidecars


def test_an_end_of_long_ago_takes_nothing_of_a_sidecars_time():
    """The container waits for its next start, after its probe had ended it; then the Pod is deleted."""
    pod = replace(POD, init_containers=(SIDECAR,), is_deleting=True, grace_s=30.0)
    long_ago = ended(replace_state(running(stop_asked_s=NOW - 100.0), grace_s=30.0), -15, NOW - 90.0)
    states = {id_of(SIDECAR): running("s"), id_of(MAIN): long_ago}
    assert time_to_end(pod, states, is_exit=False) == 30.0


def test_a_node_that_stops_ends_sidecars_last_too():
    known = {id_of(SIDECAR): running("s"), id_of(MAIN): running()}
    assert plan_exit({POD.id: POD}, known, 3.0, NOW) == [Ask(id_of(MAIN), 3.0)]
    known[id_of(MAIN)] = ended(asked_to_end(), -15, NOW + 1.0)
    assert plan_exit({POD.id: POD}, known, 3.0, NOW + 1.0) == [Ask(id_of(SIDECAR), 3.0)]


def test_what_runs_before_a_stop_is_waited_for_within_the_grace():
    pod = Pod(POD.id, "u1", (MAIN,), is_deleting=True, grace_s=5.0)
    asked = running(stop_asked_s=NOW)
    hook_runs = Seen(stopping=frozenset({"life"}))
    assert decide({MAIN: asked}, pod, hook_runs) == []
    assert decide({MAIN: asked}, pod) == [Term(id_of(MAIN))]
    assert decide({MAIN: asked}, pod, hook_runs, now=NOW + 5.0) == [Kill(id_of(MAIN))]


def test_a_pod_is_ready_when_every_container_is_by_its_probe():
    pod = Pod(POD.id, "u1", (MAIN,))
    states = {id_of(MAIN): running()}
    assert all_ready(pod, states, Seen())
    unready = Seen({"life": Health(ready=False, why="readiness probe: no answer")})
    assert not all_ready(pod, states, unready)
    told = pod_status(pod, states, False, BACKOFF, NOW)
    assert told["containerStatuses"][0]["ready"] is True, "its own, though the pod's agent is silent"
    told = pod_status(pod, states, False, BACKOFF, NOW, seen=unready)
    (ready,) = [one for one in told["conditions"] if one["type"] == "Ready"]
    assert ready["message"] == "readiness probe: no answer"
    assert told["containerStatuses"][0]["ready"] is False


def test_the_reason_why_a_pod_is_not_ready_is_also_that_of_its_sidecars_and_of_what_is_being_ended():
    pod = Pod(POD.id, "u1", (MAIN,), init_containers=(SIDECAR,))
    slow = Seen({"s": Health(ready=False, why="readiness probe: not yet")})
    for side, main, seen, says in (
        (running("s"), running(), slow, ("ContainersNotReady", "readiness probe: not yet")),
        (done(1), running(), Seen(), ("ContainersNotReady", "not every container runs")),
        (running("s"), asked_to_end(), Seen(), ("ContainersNotReady", "not every container runs")),
    ):
        told = pod_status(pod, {id_of(SIDECAR): side, id_of(MAIN): main}, False, BACKOFF, NOW, seen=seen)
        (ready,) = [one for one in told["conditions"] if one["type"] == "Ready"]
        assert (ready["reason"], ready["message"]) == says
