"""The scorer `token_load`: the fewer tokens a pod's work takes by prediction, prompt and output, the better.

Requests differ by a thousand times; tokens in flight tell more than their number (kthena.md 12.1, llm-d's token load).
A hyperbola instead of a span between the least and the most: a small difference stays small.
"""

from __future__ import annotations

from collections.abc import Sequence

from matrixinfer.handlers.dispatch.scheduling.parameters import Count, Parameters
from matrixinfer.handlers.dispatch.scheduling.port import Ask


class TokenLoadParameters(Parameters, frozen=True):
    half_tokens: Count = 32_768
    """With so many tokens in flight a pod scores one half."""


class TokenLoad:
    def __init__(self, parameters: TokenLoadParameters) -> None:
        self._half_tokens = parameters.half_tokens

    def score(self, ask: Ask) -> Sequence[float]:
        half = self._half_tokens
        return [half / (half + pod.footprints.kv_tokens) for pod in ask.pods]
