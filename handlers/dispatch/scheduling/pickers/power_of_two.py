"""The picker `power_of_two`: the better of two drawn by chance (Mitzenmacher, "The Power of Two Choices", 2001).

Robust where the scores are old: nobody herds, and yet the fullest gets O(log log n) only.
"""

from __future__ import annotations

from collections.abc import Sequence

from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from matrixinfer.handlers.dispatch.scheduling.port import Ask


class PowerOfTwo:
    def __init__(self, parameters: NoParameters) -> None:
        pass

    def pick(self, ask: Ask, totals: Sequence[float], rng: Rng) -> int:
        if len(totals) == 1:
            return 0
        one, other = rng.sample(range(len(totals)), 2)
        return one if totals[one] >= totals[other] else other
