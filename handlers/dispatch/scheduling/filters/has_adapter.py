"""The filter `has_adapter`: pods that have the request's adapter loaded. A request without one may go anywhere."""

from __future__ import annotations

from collections.abc import Sequence

from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters


class HasAdapter:
    def __init__(self, parameters: NoParameters) -> None:
        pass

    def keep(self, request: Request, pods: Sequence[Pod], now: float) -> Sequence[Pod]:
        adapter = request.adapter
        return [pod for pod in pods if adapter in pod.adapters] if adapter else pods
