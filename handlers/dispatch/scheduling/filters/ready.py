"""The filter `ready`: pods that are listed, introduced, heard of, not on their way out, and not resting."""

from __future__ import annotations

from collections.abc import Sequence

from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters


class Ready:
    def __init__(self, parameters: NoParameters) -> None:
        pass

    def keep(self, request: Request, pods: Sequence[Pod], now: float) -> Sequence[Pod]:
        return [pod for pod in pods if pod.closed_until == 0.0 and pod.is_serving()]
