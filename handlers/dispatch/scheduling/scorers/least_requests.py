"""The scorer `least_requests`: the free share of a pod's slots."""

from __future__ import annotations

from collections.abc import Sequence

from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from matrixinfer.handlers.dispatch.scheduling.port import Ask


class LeastRequests:
    def __init__(self, parameters: NoParameters) -> None:
        pass

    def score(self, ask: Ask) -> Sequence[float]:
        return [1.0 - pod.load if pod.load < 1.0 else 0.0 for pod in ask.pods]
