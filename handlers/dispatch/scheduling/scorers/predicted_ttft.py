"""The scorer `predicted_ttft`: the shortest predicted time to the first token, and what it costs the others there.

**Its own time.** What is ahead in the pod's prefill and what of the prompt is not in its cache go by one rate, learned
for each pod: so affinity lasts until the queue costs more than the hit saves (Mooncake, FAST'25, algorithm 1), without
a threshold.

**Others' time.** Each uncached token is computed before those who come later, and between the tokens of those who
decode. In the busy period come about `waiting / (1 - busy)` others: by Little's law as many come during the wait as
wait now, and more while their work is done. So a pod with an empty queue is free to take a miss; where all are busy,
misses cost more and more, and hits keep the work from growing with the queues. Without this, affinity breaks just when
it is needed most: queues break it, misses add work, work makes queues.

**Decoding.** A pod that only decodes has an empty prefill queue and still is no good place: `load_weight_s * k / (1 -
k)` with k the used share of its slots or of its KV cache, whichever is more (SMG's least_load, field.md 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence

from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.scheduling.parameters import NotNegative, Parameters, Positive
from matrixinfer.handlers.dispatch.scheduling.port import Ask

_FULLEST = 0.95


class PredictedTtftParameters(Parameters, frozen=True):
    waiting_weight: NotNegative = 2.0
    """A prompt's prefill delays so many later ones for each that waits at the pod: 1 / (1 - busy), of one half busy."""
    decoding_weight: NotNegative = 0.03
    """What a second of delay counts for one that decodes: a small part of what its answer takes."""
    load_weight_s: NotNegative = 0.3
    """Seconds of waiting that a half full pod is as bad as."""
    floor_s: Positive = 0.005
    """Differences far below it do not count: the score is (best + floor) / (this + floor)."""


class PredictedTtft:
    def __init__(self, parameters: PredictedTtftParameters) -> None:
        self._waiting_weight = parameters.waiting_weight
        self._decoding_weight = parameters.decoding_weight
        self._load_weight_s = parameters.load_weight_s
        self._floor_s = parameters.floor_s

    def score(self, ask: Ask) -> Sequence[float]:
        now, prompt_tokens = ask.now, ask.request.prompt_tokens
        costs_s = [
            self.cost_s(pod, prompt_tokens - cached_tokens, now)
            for pod, cached_tokens in zip(ask.pods, ask.cached_tokens, strict=True)
        ]
        best_s = min(costs_s)
        return [best_s / cost_s for cost_s in costs_s]

    def cost_s(self, pod: Pod, uncached_tokens: int, now: float) -> float:
        """Seconds, for a prompt of which the pod has so much to compute."""
        footprints = pod.footprints
        fixed_s, per_token_s = pod.prefill.line(now)
        waiting = footprints.waiting
        delayed = self._waiting_weight * waiting + self._decoding_weight * max(0, pod.used - waiting)
        own_tokens = uncached_tokens * (1.0 + delayed)
        ahead_tokens = footprints.ahead_tokens(now, per_token_s)
        return fixed_s + per_token_s * (ahead_tokens + own_tokens) + self.load_s(pod) + self._floor_s

    def load_s(self, pod: Pod) -> float:
        """What its load counts beside the time to the first token."""
        used = pod.load
        if capacity_tokens := pod.told.kv_capacity_tokens:
            used = max(used, pod.footprints.kv_tokens / capacity_tokens)
        used = min(used, _FULLEST)
        return self._load_weight_s * used / (1.0 - used)
