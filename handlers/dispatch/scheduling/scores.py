"""What scorers say, held to their promise of a number in [0, 1] for each pod; summed by weight, kept for the record."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matrixinfer.bus.contracts.decision import Candidate
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.scheduling.plugins import ScorerCall
from matrixinfer.handlers.dispatch.scheduling.port import Ask
from matrixinfer.handlers.dispatch.scheduling.safeguard import Safeguard

RECORDED_CANDIDATES = 8


class Scores(NamedTuple):
    """`totals` and each of `columns`, which go by the scorer's name, are parallel to the pods that were asked about."""

    totals: list[float]
    columns: dict[str, Sequence[float]]

    def ranked(self, winner: int, most: int = RECORDED_CANDIDATES) -> list[int]:
        """The indices of the best, best first; the winner is among them, and first among its equals."""
        totals = self.totals
        ranked = sorted(range(len(totals)), key=totals.__getitem__, reverse=True)[:most]
        if ranked[0] == winner:
            return ranked
        if winner in ranked:
            ranked.remove(winner)
        else:
            ranked.pop()
        place = next((at for at, index in enumerate(ranked) if totals[index] <= totals[winner]), len(ranked))
        ranked.insert(place, winner)
        return ranked

    def record(self, pods: Sequence[Pod], ranked: Sequence[int]) -> list[Candidate]:
        """Those of `pods`, with every scorer's word."""
        totals, columns = self.totals, self.columns.items()
        return [
            Candidate(pods[index].name, totals[index], {name: column[index] for name, column in columns})
            for index in ranked
        ]


class Judge:
    """`safeguard` is told when a scorer fails or breaks its promise."""

    def __init__(self, safeguard: Safeguard) -> None:
        self._safeguard = safeguard

    def scores(self, scorers: Iterable[ScorerCall], ask: Ask) -> Scores:
        count = len(ask.pods)
        totals, columns = [0.0] * count, {}
        for name, share, score in scorers:
            try:
                column = score(ask)
                if len(column) != count or not _is_bounded(column):
                    column = self._bounded(name, column, count)
            except Exception as error:  # noqa: BLE001 - of a plug-in that anybody may have written
                self._safeguard.failed(f"scorer {name!r}", error)
                column = [0.0] * count
            columns[name] = column
            totals = [total + share * value for total, value in zip(totals, column, strict=True)]
        return Scores(totals, columns)

    def _bounded(self, name: str, column: Sequence[float], count: int) -> list[float]:
        if len(column) != count:
            self._complain(name, f"gave {len(column)} scores for {count} pods: all of them count as 0")
            return [0.0] * count
        wrong = next(value for value in column if not 0.0 <= value <= 1.0)
        self._complain(name, f"gave {wrong}: expected numbers from 0 to 1; others are cut off, and NaN counts as 0")
        return [min(1.0, max(0.0, value)) if not math.isnan(value) else 0.0 for value in column]

    def _complain(self, name: str, what: str) -> None:
        self._safeguard.complain(f"scorer {name!r}", what)


def _is_bounded(column: Sequence[float]) -> bool:
    """Are all in [0, 1]? A NaN hides from `min` and `max`, but not from a sum."""
    return min(column) >= 0.0 and max(column) <= 1.0 and sum(column) >= 0.0
