"""What to do next: the Pods that shall run, and what is known of their containers, give a list of actions.

Level, not edge: the same question asked again after the actions were done gives no action. Pure: the shell that asks
is `keeper`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from matrixinfer.agents.node.backoff import Backoff
from matrixinfer.agents.node.pods import ContainerId, Pod, PodId
from matrixinfer.agents.node.states import ContainerState


@dataclass(frozen=True)
class Start:
    """Begin a life of the container (the first, or the next)."""

    id: ContainerId


@dataclass(frozen=True)
class Ask:
    """Ask the container's process group to end (SIGTERM); it has `grace_s` seconds."""

    id: ContainerId
    grace_s: float


@dataclass(frozen=True)
class Kill:
    """The time to end is over (SIGKILL)."""

    id: ContainerId


@dataclass(frozen=True)
class Forget:
    """The container ended and is not wanted any more: its record goes."""

    id: ContainerId


@dataclass(frozen=True)
class Remove:
    """The Pod was to be deleted and nothing of it runs any more: its object goes."""

    id: PodId


Action = Start | Ask | Kill | Forget | Remove


def plan(
    pods: Mapping[PodId, Pod], states: Mapping[ContainerId, ContainerState], backoff: Backoff, now: float
) -> list[Action]:
    """`pods` are those of this node; `now` is in unix seconds, like the times in `states`."""
    wanted = {id: pod for pod in pods.values() if not pod.is_deleting for id in container_ids(pod)}
    actions: list[Action] = []
    for id, pod in wanted.items():
        if _shall_start(pod, states.get(id), backoff, now):
            actions.append(Start(id))
    for id, state in states.items():
        owner = wanted.get(id)
        if owner is None or owner.uid != state.uid:
            asker = pods.get(id.pod)
            grace_s = asker.grace_s if asker is not None and asker.uid == state.uid else state.grace_s
            actions.extend(_end(id, state, grace_s, now))
    actions.extend(_removals(pods.values(), states))
    return actions


def plan_exit(states: Mapping[ContainerId, ContainerState], limit_s: float, now: float) -> list[Action]:
    """The node itself stops and takes its containers along: each has its own grace, but `limit_s` at most."""
    running = {id: state for id, state in states.items() if state.is_running}
    return [action for id, state in running.items() for action in _end(id, state, min(limit_s, state.grace_s), now)]


def restart_due_s(state: ContainerState, backoff: Backoff) -> float:
    """Unix time at which a container that ended may start again."""
    assert state.ending is not None
    ran_s = state.ending.finished_s - state.ending.started_s
    return state.ending.finished_s + backoff.wait_s(state.streak, ran_s)


def will_restart(pod: Pod, state: ContainerState) -> bool:
    """What the Pod's restart policy says about a container that ended."""
    assert state.ending is not None
    return pod.restart_policy == "Always" or (pod.restart_policy == "OnFailure" and state.ending.exit_code != 0)


def container_ids(pod: Pod) -> list[ContainerId]:
    return [ContainerId(pod.id, container.name) for container in pod.containers]


def _shall_start(pod: Pod, state: ContainerState | None, backoff: Backoff, now: float) -> bool:
    if state is None:
        return True
    if state.uid != pod.uid or state.is_running:
        return False  # a former Pod of that name ends first
    return will_restart(pod, state) and now >= restart_due_s(state, backoff)


def _end(id: ContainerId, state: ContainerState, grace_s: float, now: float) -> Iterator[Action]:
    if not state.is_running:
        yield Forget(id)
    elif state.stop_asked_s is None:
        yield Ask(id, grace_s)
    elif state.killed_s is None and now - state.stop_asked_s >= grace_s:
        yield Kill(id)


def _removals(pods: Iterable[Pod], states: Mapping[ContainerId, ContainerState]) -> Iterator[Action]:
    alive = {id.pod for id, state in states.items() if state.is_running}
    for pod in pods:
        if pod.is_deleting and pod.id not in alive:
            yield Remove(pod.id)
