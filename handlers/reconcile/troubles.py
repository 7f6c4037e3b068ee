"""Why a Pod does not get on, in the words of whoever tried to run it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from matrixinfer.handlers.api.conditions import find
from matrixinfer.handlers.api.pod import ContainerStateTerminated, ContainerStatus, Pod

_NEED_A_PERSON = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Reasons of waiting that do not go by themselves, as kubelets and our node give them."""


class Trouble(NamedTuple):
    """`reason` is one CamelCase word."""

    reason: str
    message: str


def trouble_of(pod: Pod) -> Trouble | None:
    """None while it runs, or is on its way."""
    if pod.status.phase == "Failed":
        return Trouble(pod.status.reason or "PodFailed", _said(pod, pod.status.message or "it ended"))
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        waiting = status.state.waiting
        if waiting is not None and waiting.reason in _NEED_A_PERSON:
            return Trouble(waiting.reason, _said(pod, _why(status)))
    scheduled = find(pod.status.conditions, "PodScheduled")
    if scheduled is not None and scheduled.status == "False" and scheduled.reason == "Unschedulable":
        return Trouble("Unschedulable", _said(pod, scheduled.message))
    return None


def _said(pod: Pod, text: str) -> str:
    return f"pod {pod.metadata.name}: {text}"


def _why(status: ContainerStatus) -> str:
    waiting, ended = status.state.waiting, status.last_state.terminated
    parts = [f"container {status.name}: {waiting.reason if waiting else ''}"]
    if waiting is not None and waiting.message:
        parts.append(waiting.message)
    if ended is not None:
        parts.extend(_end(ended))
    return ": ".join(parts)


def _end(ended: ContainerStateTerminated) -> Iterator[str]:
    yield f"it ended last with code {ended.exit_code}"
    if ended.message:
        yield ended.message.strip()[-500:]
