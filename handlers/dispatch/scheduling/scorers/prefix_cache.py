"""The scorer `prefix_cache`: the share of the prompt that was sent to the pod before, and so is likely in its cache."""

from __future__ import annotations

from collections.abc import Sequence

from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from matrixinfer.handlers.dispatch.scheduling.port import Ask


class PrefixCache:
    def __init__(self, parameters: NoParameters) -> None:
        pass

    def score(self, ask: Ask) -> Sequence[float]:
        prompt_tokens = ask.request.prompt_tokens or 1
        return [tokens / prompt_tokens for tokens in ask.approximate_tokens]
