"""Service as a liquid: how much work is done before the tenants' counters reach a level."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple


class Work(NamedTuple):
    requests: float = 0.0
    virtual_tokens: float = 0.0

    def plus(self, other: Work) -> Work:
        return Work(self.requests + other.requests, self.virtual_tokens + other.virtual_tokens)


class Backlog(NamedTuple):
    """A tenant's waiting work, served from its counter `start` to `end`."""

    start: float
    end: float
    work: Work


class Fluid:
    """Each backlog is taken to flow off evenly between its start and its end, as it does under fair service when no
    request is large. Building is O(n log n), a question O(log n)."""

    def __init__(self, backlogs: Iterable[Backlog]) -> None:
        turns: list[tuple[float, float, float]] = []
        total_requests = total_tokens = 0.0
        for start, end, (requests, tokens) in backlogs:
            length = max(end - start, 1e-9)
            turns.append((start, requests / length, tokens / length))
            turns.append((start + length, -requests / length, -tokens / length))
            total_requests += requests
            total_tokens += tokens
        turns.sort()
        self.total = Work(total_requests, total_tokens)
        self._levels = [level for level, _, _ in turns]
        self._request_rates = list(accumulate(rate for _, rate, _ in turns))
        self._token_rates = list(accumulate(rate for _, _, rate in turns))
        self._requests = self._integrate(self._request_rates)
        self._tokens = self._integrate(self._token_rates)

    def before(self, level: float) -> Work:
        """What is done when the counters reach `level`."""
        at = bisect_right(self._levels, level) - 1
        if at < 0:
            return Work()
        beyond = level - self._levels[at]
        return Work(
            min(self._requests[at] + beyond * self._request_rates[at], self.total.requests),
            min(self._tokens[at] + beyond * self._token_rates[at], self.total.virtual_tokens),
        )

    def _integrate(self, rates: list[float]) -> list[float]:
        levels = self._levels
        steps = (rate * (after - level) for rate, level, after in zip(rates, levels, levels[1:], strict=False))
        return list(accumulate(steps, initial=0.0))
