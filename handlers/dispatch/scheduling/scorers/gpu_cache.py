"""The scorer `gpu_cache`: the free share of a pod's KV cache, as reported or as predicted, whichever is less.

A report is up to half a second old; what was placed since is in the prediction only.
"""

from __future__ import annotations

from collections.abc import Sequence

from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from matrixinfer.handlers.dispatch.scheduling.port import Ask


class GpuCache:
    def __init__(self, parameters: NoParameters) -> None:
        pass

    def score(self, ask: Ask) -> Sequence[float]:
        return [_free(pod) for pod in ask.pods]


def _free(pod: Pod) -> float:
    used, capacity_tokens = pod.told.kv_usage, pod.told.kv_capacity_tokens
    if capacity_tokens:
        predicted = pod.footprints.kv_tokens / capacity_tokens
        used = predicted if predicted > used else used
    return 1.0 - used if used < 1.0 else 0.0
