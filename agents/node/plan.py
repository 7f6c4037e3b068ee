"""What to do next: the Pods that shall run, and what is known of their containers, give a list of actions.

Level, not edge: the same question asked again after the actions were done gives no action. Pure: the shell that asks
is `keeper`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from matrixinfer.agents.node.backoff import Backoff
from matrixinfer.agents.node.pods import Container, ContainerId, Pod, PodId
from matrixinfer.agents.node.probes import WELL, Health
from matrixinfer.agents.node.states import ContainerState


@dataclass(frozen=True)
class Start:
    """Begin a life of the container (the first, or the next)."""

    id: ContainerId


@dataclass(frozen=True)
class Ask:
    """The container shall end, and has `grace_s` seconds: run its preStop, or ask its process group (SIGTERM)."""

    id: ContainerId
    grace_s: float


@dataclass(frozen=True)
class Term:
    """Its preStop has run: ask its process group to end (SIGTERM)."""

    id: ContainerId


@dataclass(frozen=True)
class Kill:
    """The time to end is over (SIGKILL)."""

    id: ContainerId


@dataclass(frozen=True)
class Forget:
    """Nothing runs of its Pod, which is not wanted any more: its record goes."""

    id: ContainerId


@dataclass(frozen=True)
class Remove:
    """The Pod was to be deleted and nothing of it runs any more: its object goes."""

    id: PodId


Action = Start | Ask | Term | Kill | Forget | Remove
States = Mapping[ContainerId, ContainerState]
Pods = Mapping[PodId, Pod]


@dataclass(frozen=True)
class Seen:
    """What is known besides the records: the health of lives that are probed, and the lives whose preStop runs."""

    health: Mapping[str, Health] = field(default_factory=dict)
    stopping: frozenset[str] = frozenset()

    def of(self, state: ContainerState) -> Health:
        return self.health.get(state.life, WELL)


NOTHING_SEEN = Seen()


class _Moment(NamedTuple):
    now: float
    seen: Seen


LEAST_GRACE_S = 2.0
"""A sidecar has so long at least, should those that it serves have taken all of the Pod's time."""


def plan(
    pods: Mapping[PodId, Pod], states: States, backoff: Backoff, now: float, seen: Seen = NOTHING_SEEN
) -> list[Action]:
    """`pods` are those of this node; `now` is in unix seconds, like the times in `states`."""
    moment = _Moment(now, seen)
    wanted = {id: (pod, one) for pod in pods.values() for id, one in _wanted(pod, states)}
    actions: list[Action] = []
    for id, (pod, container) in wanted.items():
        state = states.get(id)
        if state is None:
            actions.extend([Start(id)] if _may_begin(pod, container, states, seen) else [])
        elif state.uid != pod.uid or not state.is_running:
            actions.extend([Start(id)] if _shall_start_again(pod, container, state, backoff, now) else [])
        elif state.stop_asked_s is not None:
            actions.extend(_end(id, state, state.grace_s, moment))
        elif seen.of(state).failing:
            grace_s = seen.of(state).grace_s
            actions.extend(_end(id, state, pod.grace_s if grace_s is None else grace_s, moment))
    for id, state in states.items():
        owner = wanted.get(id)
        if owner is None or owner[0].uid != state.uid:
            actions.extend(_leave(id, state, pods.get(id.pod), states, moment))
    actions.extend(_removals(pods.values(), states))
    return actions


def plan_exit(pods: Pods, states: States, limit_s: float, now: float, seen: Seen = NOTHING_SEEN) -> list[Action]:
    """The node itself stops and takes its containers along: each Pod has its own grace, but `limit_s` at most."""
    actions: list[Action] = []
    for id, state in states.items():
        pod = _same(pods.get(id.pod), state)
        if state.is_running and not _is_still_needed(pod, id, states):
            grace_s = min(limit_s, pod.grace_s if pod is not None else state.grace_s)
            actions.extend(_end(id, state, grace_s, _Moment(now, seen), _end_began_s(pod, id, states)))
    return actions


def restart_due_s(state: ContainerState, backoff: Backoff) -> float:
    """Unix time at which a container that ended may start again."""
    assert state.ending is not None
    ran_s = state.ending.finished_s - state.ending.started_s
    return state.ending.finished_s + backoff.wait_s(state.streak, ran_s)


def will_restart(pod: Pod, container: Container, state: ContainerState) -> bool:
    """What the restart policy says about a container that ended."""
    assert state.ending is not None
    has_failed = state.ending.exit_code != 0
    if container.is_sidecar:
        return True
    if container.is_init:
        return has_failed and pod.restart_policy != "Never"
    return pod.restart_policy == "Always" or (pod.restart_policy == "OnFailure" and has_failed)


def container_ids(pod: Pod) -> list[ContainerId]:
    """Of the containers that are no init containers."""
    return [ContainerId(pod.id, container.name) for container in pod.containers]


def is_initialized(pod: Pod, states: States, seen: Seen) -> bool:
    """Its init containers have done their work, and its sidecars run."""
    return all(_has_made_way(pod, one, states, seen) for one in pod.init_containers)


def failed_init(pod: Pod, states: States) -> ContainerState | None:
    """The init container that ended for good without success: nothing of the Pod will run any more."""
    for one in pod.init_containers:
        state = states.get(ContainerId(pod.id, one.name))
        if state is None or state.uid != pod.uid or state.ending is None:
            continue
        if state.ending.exit_code != 0 and not will_restart(pod, one, state):
            return state
    return None


def _wanted(pod: Pod, states: States) -> Iterator[tuple[ContainerId, Container]]:
    """When all that the Pod is for has ended, its sidecars are not wanted any more."""
    if pod.is_deleting:
        return
    has_ended = is_over(pod, states)
    for one in pod.all_containers:
        if not (has_ended and one.is_sidecar):
            yield ContainerId(pod.id, one.name), one


def is_over(pod: Pod, states: States) -> bool:
    """What the Pod is for has ended for good, or will never begin. Its sidecars may still run."""
    if failed_init(pod, states) is not None:
        return True
    for one in pod.containers:
        state = states.get(ContainerId(pod.id, one.name))
        if state is None or state.uid != pod.uid or state.ending is None or will_restart(pod, one, state):
            return False
    return True


def _has_made_way(pod: Pod, one: Container, states: States, seen: Seen) -> bool:
    state = states.get(ContainerId(pod.id, one.name))
    if state is None or state.uid != pod.uid:
        return False
    if one.is_sidecar:
        return state.process is not None and seen.of(state).started
    return state.ending is not None and state.ending.exit_code == 0


def _may_begin(pod: Pod, container: Container, states: States, seen: Seen) -> bool:
    """For the first time: in its turn, when those before it have made way, and a former Pod of that name has too."""
    if any(id.pod == pod.id and state.uid != pod.uid for id, state in states.items()):
        return False
    before = pod.init_containers
    if container.is_init:
        before = before[: before.index(container)]
    return failed_init(pod, states) is None and all(_has_made_way(pod, one, states, seen) for one in before)


def _shall_start_again(pod: Pod, container: Container, state: ContainerState, backoff: Backoff, now: float) -> bool:
    if state.uid != pod.uid or state.is_running:
        return False  # a former Pod of that name ends first
    return will_restart(pod, container, state) and now >= restart_due_s(state, backoff)


def _same(pod: Pod | None, state: ContainerState) -> Pod | None:
    """The Pod, unless the container belongs to a former one of its name."""
    return pod if pod is not None and pod.uid == state.uid else None


def _leave(
    id: ContainerId, state: ContainerState, namesake: Pod | None, states: States, moment: _Moment
) -> Iterator[Action]:
    """A container that is not wanted. What is known of it stays until nothing of its Pod runs, and while its Pod is
    there: its status tells of it, and its sidecars' time began when it was asked to end."""
    pod = _same(namesake, state)
    if state.is_running:
        if not _is_still_needed(pod, id, states):
            grace_s = pod.grace_s if pod is not None else state.grace_s
            yield from _end(id, state, grace_s, moment, _end_began_s(pod, id, states))
    elif pod is not None and not pod.is_deleting:
        if not any(one.name == id.container for one in pod.all_containers):
            yield Forget(id)
    elif not any(one.is_running and one.uid == state.uid for other, one in states.items() if other.pod == id.pod):
        yield Forget(id)


def _served(pod: Pod, id: ContainerId) -> list[ContainerId]:
    """By a sidecar: the containers, and the sidecars that started after it. Nothing for other containers."""
    names = [one.name for one in pod.init_containers]
    if id.container not in names or not pod.init_containers[names.index(id.container)].is_sidecar:
        return []
    later = pod.init_containers[names.index(id.container) + 1 :]
    return [*container_ids(pod), *(ContainerId(pod.id, one.name) for one in later if one.is_sidecar)]


def _is_still_needed(pod: Pod | None, id: ContainerId, states: States) -> bool:
    """A sidecar goes after those that it serves. Of a Pod that is not there any more nobody knows which those are."""
    if pod is None:
        return False
    others = (states.get(one) for one in _served(pod, id))
    return any(state is not None and state.uid == pod.uid and state.is_running for state in others)


def _end_began_s(pod: Pod | None, id: ContainerId, states: States) -> float | None:
    """When the ends began of which that of a sidecar is the last: the Pod's time counts from then. They follow each
    other without a pause, so that what had ended before, say by its probe, is none of them."""
    began_s = states[id].stop_asked_s
    if pod is None or began_s is None:
        return began_s
    served = (states.get(one) for one in _served(pod, id))
    ends = [
        (state.ending.finished_s, state.stop_asked_s)
        for state in served
        if state is not None and state.uid == pod.uid and state.ending is not None and state.stop_asked_s is not None
    ]
    for finished_s, asked_s in sorted(ends, reverse=True):
        if finished_s >= began_s:
            began_s = min(began_s, asked_s)
    return began_s


def _end(
    id: ContainerId, state: ContainerState, grace_s: float, moment: _Moment, began_s: float | None = None
) -> Iterator[Action]:
    """Of one that runs. `began_s`: when the end of its Pod began, should that be earlier than its own."""
    if state.stop_asked_s is None:
        yield Ask(id, grace_s)
        return
    due_s = state.stop_asked_s + grace_s
    if began_s is not None:
        due_s = min(due_s, max(began_s + grace_s, state.stop_asked_s + LEAST_GRACE_S))
    if state.killed_s is None and moment.now >= due_s:
        yield Kill(id)
    elif state.signalled_s is None and state.life not in moment.seen.stopping:
        yield Term(id)


def _removals(pods: Iterable[Pod], states: Mapping[ContainerId, ContainerState]) -> Iterator[Action]:
    alive = {id.pod for id, state in states.items() if state.is_running}
    for pod in pods:
        if pod.is_deleting and pod.id not in alive:
            yield Remove(pod.id)
