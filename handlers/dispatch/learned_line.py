"""A line learned online: `seconds = fixed + slope * x`.

A least-squares line through what was seen, each sample worth half as much after `HALF_LIFE_S`. Two points of the model
above (a pod's is its pool's, the pool's is a guess at hardware) hold the line where little was seen, and draw it back
when nothing is seen any more: a pod that was slow once is not slow for ever.
"""

from __future__ import annotations

from typing import Protocol

HALF_LIFE_S = 30.0
PRIOR_WEIGHT = 2.0
"""What each of the two points of the model above counts, in samples."""


class Above(Protocol):
    def seconds(self, x: float, now: float, /) -> float: ...


class LearnedLine:
    """`seconds` is what is predicted, `observe` what came."""

    __slots__ = ("_above", "_anchor", "_at", "_line", "_line_at", "_w", "_wx", "_wxx", "_wxy", "_wy")

    def __init__(self, above: Above, anchor: float) -> None:
        """The model above counts at 0 and at `anchor`."""
        self._above = above
        self._anchor = anchor
        self._w = self._wx = self._wy = self._wxx = self._wxy = 0.0
        self._at = self._line_at = float("-inf")
        self._line = (0.0, 0.0)

    def observe(self, x: float, seconds: float, now: float) -> None:
        """At `x` it took so long."""
        keep = 0.5 ** ((now - self._at) / HALF_LIFE_S) if self._w else 0.0
        self._w = keep * self._w + 1.0
        self._wx = keep * self._wx + x
        self._wy = keep * self._wy + seconds
        self._wxx = keep * self._wxx + x * x
        self._wxy = keep * self._wxy + x * seconds
        self._at = now
        self._line_at = float("-inf")

    def seconds(self, x: float, now: float) -> float:
        """What is expected at `x`."""
        fixed_s, slope_s = self.line(now)
        return fixed_s + slope_s * x

    def line(self, now: float) -> tuple[float, float]:
        """The fixed seconds and those for each unit of x; the same object as long as nothing was learned."""
        if not now - self._line_at < 1.0:
            self._line, self._line_at = self._fit(now), now
        return self._line

    def fix(self, fixed_s: float, slope_s: float) -> None:
        """Hold on to this line until something is observed."""
        self._line, self._line_at = (fixed_s, slope_s), float("inf")

    def _fit(self, now: float) -> tuple[float, float]:
        anchor = self._anchor
        keep = 0.5 ** ((now - self._at) / HALF_LIFE_S) if self._w else 0.0
        near_s, far_s = self._above.seconds(0.0, now), self._above.seconds(anchor, now)
        w = keep * self._w + 2 * PRIOR_WEIGHT
        wx = keep * self._wx + PRIOR_WEIGHT * anchor
        wy = keep * self._wy + PRIOR_WEIGHT * (near_s + far_s)
        wxx = keep * self._wxx + PRIOR_WEIGHT * anchor**2
        wxy = keep * self._wxy + PRIOR_WEIGHT * anchor * far_s
        slope_s = max(0.0, (w * wxy - wx * wy) / (w * wxx - wx * wx))
        return max(0.0, (wy - slope_s * wx) / w), slope_s
