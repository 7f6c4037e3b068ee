"""How long a pod takes to a first token, learned from what it did: `seconds = fixed + per_token * tokens ahead`."""

from __future__ import annotations

from matrixinfer.handlers.dispatch.learned_line import Above, LearnedLine

ANCHOR_TOKENS = 8192.0

GUESS_FIXED_S = 0.02
GUESS_TOKENS_PER_S = 10_000.0
"""A middling GPU with a model that fits it: good for a few requests, then the pool has taught better."""


class Guess:
    """What is believed before anything was seen."""

    def __init__(self, fixed_s: float = GUESS_FIXED_S, tokens_per_s: float = GUESS_TOKENS_PER_S) -> None:
        self._fixed_s, self._tokens_per_s = fixed_s, tokens_per_s

    def seconds(self, tokens: float, now: float) -> float:
        return self._fixed_s + tokens / self._tokens_per_s


class PrefillModel(LearnedLine):
    """Over the tokens of prefill ahead of a first token, its own included."""

    __slots__ = ()

    def __init__(self, above: Above) -> None:
        super().__init__(above, ANCHOR_TOKENS)

    @classmethod
    def of_line(cls, fixed_s: float, per_token_s: float) -> PrefillModel:
        """One that was told, and holds on to it until it observes something."""
        model = cls(Guess())
        model.fix(fixed_s, per_token_s)
        return model
