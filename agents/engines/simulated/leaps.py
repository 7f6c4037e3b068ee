"""Many equal decode steps as one: their time in closed form.

While nobody comes, leaves or prefills, the batch stays the same and its context grows by one token a request and
step. So each step takes a constant longer than the one before: the times of a run are an arithmetic series. Pure.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Pace(NamedTuple):
    """The first step of a run takes `first_s`, each next one `growth_s` longer than the one before."""

    first_s: float
    growth_s: float

    def duration_s(self, steps: int) -> float:
        """Seconds that so many steps take."""
        return steps * self.first_s + self.growth_s * (steps * (steps - 1) / 2)

    def after(self, steps: int) -> Pace:
        """The pace of what is left when so many steps are over."""
        return Pace(self.first_s + steps * self.growth_s, self.growth_s)

    def steps_within(self, elapsed_s: float, most: int) -> int:
        """How many whole steps end within `elapsed_s`, `most` at most: the root of the series, mended for rounding."""
        steps = min(most, max(0, int(self._root(elapsed_s))))
        while steps < most and self.duration_s(steps + 1) <= elapsed_s:
            steps += 1
        while steps and self.duration_s(steps) > elapsed_s:
            steps -= 1
        return steps

    def _root(self, elapsed_s: float) -> float:
        if self.growth_s > 0:
            linear = self.first_s - self.growth_s / 2
            return (math.sqrt(linear * linear + 2 * self.growth_s * max(0.0, elapsed_s)) - linear) / self.growth_s
        return elapsed_s / self.first_s if self.first_s > 0 else 0.0
