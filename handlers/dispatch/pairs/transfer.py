"""How long a prompt's KV cache takes from one pod to another, learned from the first tokens that came after it."""

from __future__ import annotations

from matrixinfer.handlers.dispatch.prefill_model import Guess, PrefillModel

GUESS_FIXED_S = 0.01
GUESS_TOKENS_PER_S = 100_000.0
"""About 100 KB a token over 80 Gbit/s."""


class TransferModel:
    """A line over the tokens for each closeness: within a rack it is another way than between zones. What was not seen
    yet goes by what was seen of the pool as a whole."""

    def __init__(self) -> None:
        self._all = PrefillModel(Guess(GUESS_FIXED_S, GUESS_TOKENS_PER_S))
        self._by_closeness: dict[int, PrefillModel] = {}

    def observe(self, tokens: int, close: int, seconds: float, now: float) -> None:
        """A first token came `seconds` after the end of its prefill elsewhere."""
        self._all.observe(tokens, seconds, now)
        self._by_closeness.setdefault(close, PrefillModel(self._all)).observe(tokens, seconds, now)

    def seconds(self, tokens: int, close: int, now: float) -> float:
        return self._by_closeness.get(close, self._all).seconds(tokens, now)
