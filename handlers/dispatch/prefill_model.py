"""How long a pod takes to a first token, learned from what it did: `seconds = fixed + per_token * tokens ahead`.

A least-squares line through the waits seen, each worth half as much after `HALF_LIFE_S`. Two points of the model above
(a pod's is its pool's, the pool's is a guess at hardware) hold the line where little was seen, and draw it back when
nothing is seen any more: a pod that was slow once is not slow for ever.
"""

from __future__ import annotations

from typing import Protocol

HALF_LIFE_S = 30.0
PRIOR_WEIGHT = 2.0
"""What each of the two points of the model above counts, in waits."""
ANCHOR_TOKENS = 8192.0

GUESS_FIXED_S = 0.02
GUESS_TOKENS_PER_S = 10_000.0
"""A middling GPU with a model that fits it: good for a few requests, then the pool has taught better."""


class Above(Protocol):
    def seconds(self, tokens: float, now: float) -> float: ...


class Guess:
    """What is believed before anything was seen."""

    def __init__(self, fixed_s: float = GUESS_FIXED_S, tokens_per_s: float = GUESS_TOKENS_PER_S) -> None:
        self._fixed_s, self._tokens_per_s = fixed_s, tokens_per_s

    def seconds(self, tokens: float, now: float) -> float:
        return self._fixed_s + tokens / self._tokens_per_s


class PrefillModel:
    """`seconds` is what is predicted, `observe` what came."""

    __slots__ = ("_above", "_at", "_line", "_line_at", "_w", "_wx", "_wxx", "_wxy", "_wy")

    def __init__(self, above: Above) -> None:
        self._above = above
        self._w = self._wx = self._wy = self._wxx = self._wxy = 0.0
        self._at = self._line_at = float("-inf")
        self._line = (0.0, 0.0)

    def observe(self, tokens: float, seconds: float, now: float) -> None:
        """A first token came `seconds` after its placing with `tokens` of prefill ahead of it."""
        keep = 0.5 ** ((now - self._at) / HALF_LIFE_S) if self._w else 0.0
        self._w = keep * self._w + 1.0
        self._wx = keep * self._wx + tokens
        self._wy = keep * self._wy + seconds
        self._wxx = keep * self._wxx + tokens * tokens
        self._wxy = keep * self._wxy + tokens * seconds
        self._at = now
        self._line_at = float("-inf")

    def seconds(self, tokens: float, now: float) -> float:
        """The expected time to the first token behind `tokens` of prefill, their own included."""
        fixed_s, per_token_s = self.line(now)
        return fixed_s + per_token_s * tokens

    def line(self, now: float) -> tuple[float, float]:
        """The fixed seconds and those for each token; the same object as long as nothing was learned."""
        if not now - self._line_at < 1.0:
            self._line, self._line_at = self._fit(now), now
        return self._line

    @classmethod
    def of_line(cls, fixed_s: float, per_token_s: float) -> PrefillModel:
        """One that was told, and holds on to it until it observes something."""
        model = cls(Guess())
        model._line, model._line_at = (fixed_s, per_token_s), float("inf")
        return model

    def _fit(self, now: float) -> tuple[float, float]:
        keep = 0.5 ** ((now - self._at) / HALF_LIFE_S) if self._w else 0.0
        near_s, far_s = self._above.seconds(0.0, now), self._above.seconds(ANCHOR_TOKENS, now)
        w = keep * self._w + 2 * PRIOR_WEIGHT
        wx = keep * self._wx + PRIOR_WEIGHT * ANCHOR_TOKENS
        wy = keep * self._wy + PRIOR_WEIGHT * (near_s + far_s)
        wxx = keep * self._wxx + PRIOR_WEIGHT * ANCHOR_TOKENS**2
        wxy = keep * self._wxy + PRIOR_WEIGHT * ANCHOR_TOKENS * far_s
        per_token_s = max(0.0, (w * wxy - wx * wy) / (w * wxx - wx * wx))
        return max(0.0, (wy - per_token_s * wx) / w), per_token_s
