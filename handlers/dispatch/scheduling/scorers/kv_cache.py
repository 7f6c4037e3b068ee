"""The scorer `kv_cache`: the share of the prompt that is in the pod's cache by the engine's own events."""

from __future__ import annotations

from collections.abc import Sequence

from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from matrixinfer.handlers.dispatch.scheduling.port import Ask


class KvCache:
    def __init__(self, parameters: NoParameters) -> None:
        pass

    def score(self, ask: Ask) -> Sequence[float]:
        prompt_tokens = ask.request.prompt_tokens or 1
        return [(tokens or 0) / prompt_tokens for tokens in ask.exact_tokens]
