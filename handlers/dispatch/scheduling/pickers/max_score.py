"""The picker `max_score`: the best; among equals, one by chance."""

from __future__ import annotations

from collections.abc import Sequence

from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from matrixinfer.handlers.dispatch.scheduling.port import Ask

_EQUAL = 1e-9


class MaxScore:
    def __init__(self, parameters: NoParameters) -> None:
        pass

    def pick(self, ask: Ask, totals: Sequence[float], rng: Rng) -> int:
        enough = max(totals) - _EQUAL
        best = [index for index, total in enumerate(totals) if total >= enough]
        return best[0] if len(best) == 1 else best[int(rng.random() * len(best))]
