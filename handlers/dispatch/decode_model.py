"""How far apart the tokens at a pod come, learned from the answers that ended: `seconds = fixed + slope * requests`.

An answer tells the mean of its own time, so it is put beside the mean of how many requests the pod had during that
time: of its first token and of its end. What prefill does to those who decode is part of what is learned.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from matrixinfer.bus.contracts.load import Finished, WorkKey
from matrixinfer.handlers.dispatch.learned_line import Above, LearnedLine

ANCHOR_REQUESTS = 64.0
GUESS_FIXED_S = 0.01
GUESS_REQUEST_S = 0.0002
SHORTEST_TOKENS = 8
"""Answers with fewer tell more of one step than of the pod."""


class DecodeGuess:
    """What is believed before anything was seen."""

    def seconds(self, requests: float, now: float) -> float:
        return GUESS_FIXED_S + GUESS_REQUEST_S * requests


class Pace(NamedTuple):
    """Tokens of one answer came `seconds` apart while the pod had so many `requests`."""

    requests: float
    seconds: float


class DecodeModel(LearnedLine):
    """Over the requests that a pod has, those included that still wait for their first token there."""

    __slots__ = ("_begun",)

    def __init__(self, above: Above) -> None:
        super().__init__(above, ANCHOR_REQUESTS)
        self._begun: dict[WorkKey, int] = {}

    def start(self, work: WorkKey, requests: int) -> None:
        """Its first token came while the pod had so many requests."""
        self._begun[work] = requests

    def end(self, end: Finished, requests: int, now: float) -> Pace | None:
        """It ended while the pod had so many; what was learned, if anything."""
        begun = self._begun.pop(end.key, None)
        tokens, decode_s = end.usage.output_tokens, end.duration_s - end.ttft_s
        if begun is None or end.outcome != "completed" or tokens < SHORTEST_TOKENS or decode_s <= 0.0:
            return None
        pace = Pace((begun + requests) / 2, decode_s / (tokens - 1))
        self.observe(pace.requests, pace.seconds, now)
        return pace

    def forget_all_but(self, works: set[WorkKey]) -> None:
        """The others left without a word."""
        if len(self._begun) > len(works):
            self._begun = {work: begun for work, begun in self._begun.items() if work in works}

    def most(self, max_tpot_s: float, now: float) -> float:
        """So many requests keep the bound, by prediction; at least one, without bound when more cost nothing."""
        fixed_s, slope_s = self.line(now)
        if slope_s <= 0.0:
            return math.inf if fixed_s <= max_tpot_s else 1.0
        return max(1.0, math.floor((max_tpot_s - fixed_s) / slope_s))
