"""The picker `weighted_random`: by chance, the better the likelier: softmax of the totals (Dynamo's router samples so).

Dispatchers that decide by the same, slightly old news do not all run to the same pod.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from itertools import accumulate

from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.scheduling.parameters import Parameters, Positive
from matrixinfer.handlers.dispatch.scheduling.port import Ask


class WeightedRandomParameters(Parameters, frozen=True):
    temperature: Positive = 0.1
    """A total that is lower by this much is e times less likely. Towards 0: always the best; large: any."""


class WeightedRandom:
    def __init__(self, parameters: WeightedRandomParameters) -> None:
        self._temperature = parameters.temperature

    def pick(self, ask: Ask, totals: Sequence[float], rng: Rng) -> int:
        best = max(totals)
        sums = list(accumulate([math.exp((total - best) / self._temperature) for total in totals]))
        return min(bisect.bisect_right(sums, rng.random() * sums[-1]), len(sums) - 1)  # the product may be rounded up
