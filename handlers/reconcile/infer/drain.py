"""Pods leave in two steps: they get nothing new, and are deleted when they are idle or their time is over. Pure.

Those that serve nobody are deleted at once. The Pods of one unit go together: workers compute for their entry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.durations import seconds
from matrixinfer.handlers.api.modelinfer import ModelInfer
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.times import timestamp, unix_seconds
from matrixinfer.handlers.reconcile.infer.census import Loads, waits_for_gang

SETTLED_AFTER_S = 2.0
"""So long after it was told to drain, no dispatcher sends a Pod anything any more. Marks are in whole seconds: this is
one at least."""


@dataclass
class Leaving:
    """`marked` are to be applied, `deleted` to be deleted; `waits_s`: when to look again."""

    marked: list[Pod] = field(default_factory=list)
    deleted: list[Pod] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)


def leave(infer: ModelInfer, units: Iterable[list[Pod]], loads: Loads, now: float) -> Leaving:
    """Each of `units` shall go as a whole; what is being deleted already is left alone."""
    result = Leaving()
    for unit in units:
        pods = [pod for pod in unit if not pod.is_terminating]
        serving = [pod for pod in pods if _serves(pod)]
        wait_s = max((_still_drains_s(infer, pod, loads, now) for pod in serving), default=0.0)
        if not wait_s:
            result.deleted += pods
            continue
        result.waits_s.append(wait_s)
        result.marked += [_marked(pod, now) for pod in pods if labels.DRAIN_SINCE not in pod.metadata.annotations]
    return result


def _serves(pod: Pod) -> bool:
    """May it have requests? Only an agent takes any, and only a ready one in a pool has some."""
    if waits_for_gang(pod):
        return False
    is_entry = pod.metadata.labels.get(labels.ENTRY) == "true"
    return is_entry and pod.is_ready and pod.metadata.labels.get(labels.AGENT) == "true"


def _still_drains_s(infer: ModelInfer, pod: Pod, loads: Loads, now: float) -> float:
    """0 when it may be deleted. One of which nothing is heard is waited for, to the last."""
    timeout_s = seconds(infer.spec.drain_timeout)
    since = pod.metadata.annotations.get(labels.DRAIN_SINCE)
    drained_s = now - unix_seconds(since) if since else 0.0
    if drained_s >= timeout_s:
        return 0.0
    is_idle = loads.get(pod.metadata.name) == 0
    if not is_idle:
        return timeout_s - drained_s
    return max(0.0, min(SETTLED_AFTER_S, timeout_s) - drained_s)


def _marked(pod: Pod, now: float) -> Pod:
    annotations = pod.metadata.annotations | {labels.DRAIN_SINCE: timestamp(now)}
    return pod.model_copy(update={"metadata": pod.metadata.model_copy(update={"annotations": annotations})})
