"""The scorer `lora_affinity`: a pod with the request's adapter first, then one with room for it, then one that will
load it anyway (llm-d's LoRA scorer, field.md 4.2). A request without an adapter fits everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.parameters import Count, Parameters
from matrixinfer.handlers.dispatch.scheduling.port import Ask

ACTIVE, ROOM, WAITING, ELSE = 1.0, 0.8, 0.6, 0.0
_WANTED = 8
_by_load = attrgetter("load")


class LoraAffinityParameters(Parameters, frozen=True):
    max_adapters: Count = 4
    """Adapters that an engine holds at once: with fewer, loaded or on their way, there is room."""


class LoraAffinity:
    def __init__(self, parameters: LoraAffinityParameters) -> None:
        self._max_adapters = parameters.max_adapters

    def score(self, ask: Ask) -> Sequence[float]:
        adapter = ask.request.adapter
        if not adapter:
            return [ACTIVE] * len(ask.pods)
        return [ACTIVE if adapter in pod.adapters else self._inactive(pod, adapter) for pod in ask.pods]

    def wanted(self, request: Request, pods: Sequence[Pod], now: float) -> Sequence[str]:
        """The least loaded of those that have the adapter."""
        if not request.adapter:
            return ()
        having = [pod for pod in pods if request.adapter in pod.adapters]
        return [pod.name for pod in sorted(having, key=_by_load)[:_WANTED]]

    def _inactive(self, pod: Pod, adapter: str) -> float:
        waiting = {placed.adapter for placed in pod.placed.values() if placed.adapter} - pod.adapters
        if len(pod.adapters) + len(waiting) < self._max_adapters:
            return ROOM
        return WAITING if adapter in waiting else ELSE
