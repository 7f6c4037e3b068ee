"""The scorer `predicted_ttft`: the shortest predicted time to the first token, and the load of decoding beside it.

What is ahead in the pod's prefill and what of the prompt is not in its cache go by one rate, learned for each pod: so
affinity lasts until the queue costs more than the hit saves (Mooncake, FAST'25, algorithm 1), without a threshold.
A pod that only decodes has an empty prefill queue and still is no good place: `load_weight_s * k / (1 - k)` with k
the used share of its slots or of its KV cache, whichever is more (SMG's least_load, field.md 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence

from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.scheduling.parameters import NotNegative, Parameters, Positive
from matrixinfer.handlers.dispatch.scheduling.port import Ask

_FULLEST = 0.95


class PredictedTtftParameters(Parameters, frozen=True):
    load_weight_s: NotNegative = 0.15
    """Seconds of waiting that a half full pod is as bad as."""
    floor_s: Positive = 0.005
    """Differences far below it do not count: the score is (best + floor) / (this + floor)."""


class PredictedTtft:
    def __init__(self, parameters: PredictedTtftParameters) -> None:
        self._load_weight_s = parameters.load_weight_s
        self._floor_s = parameters.floor_s

    def score(self, ask: Ask) -> Sequence[float]:
        now, prompt_tokens = ask.now, ask.request.prompt_tokens
        costs_s = [
            pod.prefill.seconds(pod.footprints.prefill_tokens + prompt_tokens - cached_tokens, now)
            + self._load_s(pod)
            + self._floor_s
            for pod, cached_tokens in zip(ask.pods, ask.cached_tokens, strict=True)
        ]
        best_s = min(costs_s)
        return [best_s / cost_s for cost_s in costs_s]

    def _load_s(self, pod: Pod) -> float:
        used = pod.load
        if capacity_tokens := pod.kv_capacity_tokens:
            used = max(used, pod.footprints.kv_tokens / capacity_tokens)
        used = min(used, _FULLEST)
        return self._load_weight_s * used / (1.0 - used)
