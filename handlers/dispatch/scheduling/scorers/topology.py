"""The scorer `topology`: the nearer to where the request comes from (or to its peer of a prefill/decode pair), the
better: by the number of places, from the widest on, that both have in common (llm-d's topology scorer)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from matrixinfer.handlers.dispatch.closeness import closeness
from matrixinfer.handlers.dispatch.scheduling.parameters import Parameters, Share
from matrixinfer.handlers.dispatch.scheduling.port import Ask


class TopologyParameters(Parameters, frozen=True):
    weights: Annotated[tuple[Share, ...], msgspec.Meta(max_length=16)] = (0.02, 0.05, 0.2, 1.0)
    """The score with no place in common, with one (zone), with two (rack), and so on; the last one stands for more."""

    def __post_init__(self) -> None:
        if not self.weights or list(self.weights) != sorted(self.weights):
            raise ValueError("weights: expected at least one, and each no less than the one before it")


class Topology:
    def __init__(self, parameters: TopologyParameters) -> None:
        self._weights = parameters.weights

    def score(self, ask: Ask) -> Sequence[float]:
        near = ask.request.near
        if not near:
            return [1.0] * len(ask.pods)
        weights, last = self._weights, len(self._weights) - 1
        return [weights[min(closeness(pod.topology, near), last)] for pod in ask.pods]
