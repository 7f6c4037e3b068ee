"""What the node reports of a Pod, in Kubernetes' words: phase, conditions, container statuses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from matrixinfer.agents.node.backoff import Backoff
from matrixinfer.agents.node.checks import HOST
from matrixinfer.agents.node.plan import (
    NOTHING_SEEN,
    Seen,
    States,
    container_ids,
    failed_init,
    is_initialized,
    is_over,
    restart_due_s,
    will_restart,
)
from matrixinfer.agents.node.pods import Container, ContainerId, Pod
from matrixinfer.agents.node.probes import WELL
from matrixinfer.agents.node.shapes import Object, all_once_told, once_told
from matrixinfer.agents.node.states import CANNOT_START_EXIT, ContainerState, Ending

_COULD_NOT_START = {
    "CannotStart": "CreateContainerError",  # as records of a former version call it
    "CreateContainerError": "CreateContainerError",
    "CreateContainerConfigError": "CreateContainerConfigError",
}


def pod_status(
    pod: Pod, states: States, is_ready: bool, backoff: Backoff, now: float, *, seen: Seen = NOTHING_SEEN
) -> dict[str, Any]:
    """The whole `status`. A condition keeps the time of its last change from the status that the object has."""
    before = once_told(pod.document.get("status"))
    view = _View(pod, states, backoff, seen)
    known = [states.get(id) for id in container_ids(pod)]
    reason, message = _why_not_ready(pod, _lasting(pod, states), is_ready, seen)
    initialized = is_initialized(pod, states, seen)
    status: dict[str, Any] = {
        "phase": _phase(pod, states, known),
        "conditions": [
            _condition(before, "PodScheduled", True, now=now),
            *([_condition(before, "Initialized", initialized, now=now)] if pod.init_containers else []),
            _condition(before, "Ready", is_ready, now=now, reason=reason, message=message),
        ],
        "hostIP": HOST,
        "podIP": HOST,
        "startTime": _time(before, "startTime", now),
        "containerStatuses": [view.of(one) for one in pod.containers],
    }
    if pod.init_containers:
        status["initContainerStatuses"] = [view.of(one) for one in pod.init_containers]
    return status


def refusal_status(document: Object, message: str, now: float) -> dict[str, Any]:
    """The status of a Pod that cannot run on any node."""
    before = once_told(document.get("status"))
    return {
        "phase": "Failed",
        "reason": "BadPod",
        "message": message,
        "conditions": [_condition(before, "Ready", False, now=now, reason="BadPod", message=message)],
        "startTime": _time(before, "startTime", now),
    }


def timestamp(unix_s: float) -> str:
    return datetime.fromtimestamp(int(unix_s), UTC).isoformat().replace("+00:00", "Z")


def _time(before: Object, name: str, now: float) -> str:
    """As it was told before, if it was."""
    former = before.get(name)
    return former if former and isinstance(former, str) else timestamp(now)


def all_ready(pod: Pod, states: States, seen: Seen) -> bool:
    """Every container and every sidecar has a process that was not asked to end, and is ready by its probe."""
    return all(s is not None and _is_up(s) and seen.of(s).ready for s in _lasting(pod, states))


def _lasting(pod: Pod, states: States) -> list[ContainerState | None]:
    """Of the containers and sidecars."""
    lasting = [one for one in pod.all_containers if one.is_sidecar or not one.is_init]
    return [states.get(ContainerId(pod.id, one.name)) for one in lasting]


def _is_up(state: ContainerState) -> bool:
    return state.process is not None and state.stop_asked_s is None


def _phase(pod: Pod, states: States, known: list[ContainerState | None]) -> str:
    """A Pod is at its end when nothing of it runs any more: its sidecars neither."""
    is_last = not any(
        state is not None and state.uid == pod.uid and state.is_running
        for state in (states.get(ContainerId(pod.id, one.name)) for one in pod.init_containers)
    )
    if failed_init(pod, states) is not None:
        return "Failed" if is_last else "Pending"
    seen = [(one, state) for one, state in zip(pod.containers, known, strict=True) if state is not None]
    if len(seen) < len(known):
        return "Pending"
    endings = [s.ending for one, s in seen if s.ending is not None and not will_restart(pod, one, s)]
    if len(endings) < len(seen) or not is_last:
        return "Running"
    return "Succeeded" if all(ending.exit_code == 0 for ending in endings) else "Failed"


def _why_not_ready(pod: Pod, known: list[ContainerState | None], is_ready: bool, seen: Seen) -> tuple[str, str]:
    if is_ready:
        return "", ""
    if pod.is_deleting:
        return "Terminating", "the pod is being deleted"
    if any(state is None or not _is_up(state) for state in known):
        return "ContainersNotReady", "not every container runs"
    told = [seen.of(state).why for state in known if state is not None and not seen.of(state).ready]
    if told:
        return "ContainersNotReady", next((why for why in told if why), "not every container has been found ready")
    return "AgentSilent", "the containers run, but no load event of an agent that takes work was heard of late"


def _condition(
    before: Object, type: str, is_true: bool, *, now: float, reason: str = "", message: str = ""
) -> dict[str, Any]:
    status = "True" if is_true else "False"
    former: Object = next((one for one in all_once_told(before.get("conditions")) if one.get("type") == type), {})
    since = _time(former if former.get("status") == status else {}, "lastTransitionTime", now)
    condition = {"type": type, "status": status, "lastTransitionTime": since}
    if reason:
        condition |= {"reason": reason, "message": message}
    return condition


@dataclass(frozen=True)
class _View:
    """All that a container's status is made from."""

    pod: Pod
    states: States
    backoff: Backoff
    seen: Seen

    def of(self, container: Container) -> dict[str, Any]:
        """Its readiness is its own: that of the Pod asks for all of them, and for the agent."""
        state = self.states.get(ContainerId(self.pod.id, container.name))
        runs = state is not None and _is_up(state)
        health = self.seen.of(state) if state is not None else WELL
        has_done = container.is_init and state is not None and state.ending is not None and state.ending.exit_code == 0
        return {
            "name": container.name,
            "ready": has_done or (runs and health.ready),
            "started": runs and health.started,
            "restartCount": state.restarts if state else 0,
            "state": self._state_now(container, state),
            "lastState": {"terminated": _terminated(state.previous)} if state and state.previous else {},
        }

    def _state_now(self, container: Container, state: ContainerState | None) -> dict[str, Any]:
        if state is None:
            return {"waiting": {"reason": "PodInitializing" if self.pod.init_containers else "ContainerCreating"}}
        if state.ending is None:
            return {"running": {"startedAt": timestamp(state.started_s)}}
        is_last = container.is_sidecar and is_over(self.pod, self.states)
        if self.pod.is_deleting or is_last or not will_restart(self.pod, container, state):
            return {"terminated": _terminated(state.ending)}
        return {"waiting": _waiting(state, state.ending, self.backoff)}


def _waiting(state: ContainerState, ending: Ending, backoff: Backoff) -> dict[str, Any]:
    due = timestamp(restart_due_s(state, backoff))
    if ending.exit_code == CANNOT_START_EXIT and ending.reason in _COULD_NOT_START:
        return {"reason": _COULD_NOT_START[ending.reason], "message": f"{ending.message}; next try at {due}"}
    said = f"; {ending.message}" if ending.message else ""
    return {"reason": "CrashLoopBackOff", "message": f"ended with code {ending.exit_code}{said}; restarts at {due}"}


def _terminated(ending: Ending) -> dict[str, Any]:
    return {
        "exitCode": ending.exit_code,
        "reason": ending.reason,
        "message": ending.message,
        "startedAt": timestamp(ending.started_s),
        "finishedAt": timestamp(ending.finished_s),
    }
