"""The scorer `least_latency`: the shortest times to a first token and between tokens, by the pods' own measurements.

A measurement loses half of its weight to the mean of the candidates with every `half_life_s` without a new one: a pod
that was slow once, and gets nothing since, drifts back to being tried (Kthena's keeps its bad value for ever,
kthena.md 12.1). Ratios to the best, not places between best and worst: a small difference stays small.
"""

from __future__ import annotations

from collections.abc import Sequence

from matrixinfer.handlers.dispatch.scheduling.parameters import Parameters, Positive, Share
from matrixinfer.handlers.dispatch.scheduling.port import Ask

_FLOOR_S = 1e-4
"""Differences far below it do not count."""


class LeastLatencyParameters(Parameters, frozen=True):
    ttft_share: Share = 0.5
    """Of the time to first token; the rest is the time per output token's."""
    half_life_s: Positive = 10.0


class LeastLatency:
    def __init__(self, parameters: LeastLatencyParameters) -> None:
        self._ttft_share = parameters.ttft_share
        self._half_life_s = parameters.half_life_s

    def score(self, ask: Ask) -> Sequence[float]:
        now, half_life_s = ask.now, self._half_life_s
        trust = [0.5 ** (max(0.0, now - pod.measured_at) / half_life_s) for pod in ask.pods]
        ttft = _relative([pod.told.ttft_s for pod in ask.pods], trust)
        tpot = _relative([pod.told.tpot_s for pod in ask.pods], trust)
        share, rest = self._ttft_share, 1.0 - self._ttft_share
        return [share * first + rest * later for first, later in zip(ttft, tpot, strict=True)]


def _relative(measured_s: Sequence[float], trust: Sequence[float]) -> list[float]:
    """The best of the believed times over each; 0 seconds means that nothing was measured."""
    known_s = [seconds for seconds in measured_s if seconds > 0.0]
    prior_s = sum(known_s) / len(known_s) if known_s else 0.0
    believed_s = [
        (prior_s + weight * (seconds - prior_s) if seconds > 0.0 else prior_s) + _FLOOR_S
        for seconds, weight in zip(measured_s, trust, strict=True)
    ]
    best_s = min(believed_s)
    return [best_s / seconds for seconds in believed_s]
