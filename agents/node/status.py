"""What the node reports of a Pod, in Kubernetes' words: phase, conditions, container statuses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from matrixinfer.agents.node.backoff import Backoff
from matrixinfer.agents.node.plan import container_ids, restart_due_s, will_restart
from matrixinfer.agents.node.pods import ContainerId, Object, Pod
from matrixinfer.agents.node.states import CANNOT_START_EXIT, ContainerState, Ending

HOST = "127.0.0.1"
States = Mapping[ContainerId, ContainerState]


def pod_status(pod: Pod, states: States, is_ready: bool, backoff: Backoff, now: float) -> dict[str, Any]:
    """The whole `status`. A condition keeps the time of its last change from the status that the object has."""
    before = pod.document.get("status") or {}
    known = [states.get(id) for id in container_ids(pod)]
    reason, message = _why_not_ready(pod, known, is_ready)
    return {
        "phase": _phase(pod, known),
        "conditions": [
            _condition(before, "PodScheduled", True, now=now),
            _condition(before, "Ready", is_ready, now=now, reason=reason, message=message),
        ],
        "hostIP": HOST,
        "podIP": HOST,
        "startTime": before.get("startTime") or timestamp(now),
        "containerStatuses": [
            _container_status(pod, id, states.get(id), is_ready, backoff) for id in container_ids(pod)
        ],
    }


def refusal_status(document: Object, message: str, now: float) -> dict[str, Any]:
    """The status of a Pod that cannot run on any node."""
    before = document.get("status") or {}
    return {
        "phase": "Failed",
        "reason": "BadPod",
        "message": message,
        "conditions": [_condition(before, "Ready", False, now=now, reason="BadPod", message=message)],
        "startTime": before.get("startTime") or timestamp(now),
    }


def timestamp(unix_s: float) -> str:
    return datetime.fromtimestamp(int(unix_s), UTC).isoformat().replace("+00:00", "Z")


def all_running(pod: Pod, states: States) -> bool:
    """Every container has a process, and none was asked to end."""
    known = [states.get(id) for id in container_ids(pod)]
    return all(s is not None and s.process is not None and s.stop_asked_s is None for s in known)


def _phase(pod: Pod, known: list[ContainerState | None]) -> str:
    seen = [state for state in known if state is not None]
    if len(seen) < len(known):
        return "Pending"
    endings = [state.ending for state in seen if state.ending is not None and not will_restart(pod, state)]
    if len(endings) < len(seen):
        return "Running"
    return "Succeeded" if all(ending.exit_code == 0 for ending in endings) else "Failed"


def _why_not_ready(pod: Pod, known: list[ContainerState | None], is_ready: bool) -> tuple[str, str]:
    if is_ready:
        return "", ""
    if pod.is_deleting:
        return "Terminating", "the pod is being deleted"
    if any(state is None or not state.is_running for state in known):
        return "ContainersNotReady", "not every container runs"
    return "AgentSilent", "the containers run, but no load event of an agent that takes work was heard of late"


def _condition(
    before: Object, type: str, is_true: bool, *, now: float, reason: str = "", message: str = ""
) -> dict[str, Any]:
    status = "True" if is_true else "False"
    conditions: list[Object] = before.get("conditions") or []
    former = next((condition for condition in conditions if condition.get("type") == type), {})
    since = former.get("lastTransitionTime") if former.get("status") == status else None
    condition = {"type": type, "status": status, "lastTransitionTime": since or timestamp(now)}
    if reason:
        condition |= {"reason": reason, "message": message}
    return condition


def _container_status(
    pod: Pod, id: ContainerId, state: ContainerState | None, is_ready: bool, backoff: Backoff
) -> dict[str, Any]:
    runs = state is not None and state.process is not None
    return {
        "name": id.container,
        "ready": runs and is_ready,
        "started": runs,
        "restartCount": state.restarts if state else 0,
        "state": _state_now(pod, state, backoff),
        "lastState": {"terminated": _terminated(state.previous)} if state and state.previous else {},
    }


def _state_now(pod: Pod, state: ContainerState | None, backoff: Backoff) -> dict[str, Any]:
    if state is None:
        return {"waiting": {"reason": "ContainerCreating"}}
    if state.ending is None:
        return {"running": {"startedAt": timestamp(state.started_s)}}
    if pod.is_deleting or not will_restart(pod, state):
        return {"terminated": _terminated(state.ending)}
    return {"waiting": _waiting(state, state.ending, backoff)}


def _waiting(state: ContainerState, ending: Ending, backoff: Backoff) -> dict[str, Any]:
    due = timestamp(restart_due_s(state, backoff))
    if ending.exit_code == CANNOT_START_EXIT and ending.reason == "CannotStart":
        return {"reason": "CreateContainerError", "message": f"{ending.message}; next try at {due}"}
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
