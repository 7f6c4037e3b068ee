"""How fast the pool works off what waits: learned from the requests that went to pods while others waited.

What counts is what a request was expected to cost while it waited, and not what it was charged or used: the work ahead
of a new one is made of the same expectations, so that an error of theirs divides out."""

from __future__ import annotations

import math

_MEMORY_S = 30.0
_ENOUGH_S = 5.0
_ENOUGH_PLACEMENTS = 8
_STALE_AFTER_S = 600.0


class DrainRate:
    """Virtual tokens a second and pod, decayed over thirty seconds in which requests waited. At other times demand is
    the limit and a placement says nothing about capacity; then the memory stays, for ten minutes."""

    def __init__(self) -> None:
        self._virtual_tokens = 0.0
        self._pod_seconds = 0.0
        self._busy_s = 0.0
        self._placements = 0
        self._pending = 0.0
        self._pending_placements = 0
        self._looked_at: float | None = None
        self._was_backlogged = False
        self._busy_until = -math.inf

    def placed(self, virtual_tokens: float) -> None:
        """A request went to a pod that counted for so much (`FairQueue.waiting_cost`)."""
        self._pending += virtual_tokens
        self._pending_placements += 1

    def tick(self, now: float, *, is_backlogged: bool, pods: int) -> None:
        """To be called a few times a second. An interval counts when requests waited at its begin and its end."""
        if self._looked_at is not None and self._was_backlogged and is_backlogged and pods > 0:
            self._learn(now - self._looked_at, pods)
            self._busy_until = now
        self._pending, self._pending_placements = 0.0, 0
        self._looked_at = now
        self._was_backlogged = is_backlogged

    def per_s(self, now: float, pods: int) -> float | None:
        """Virtual tokens a second of so many serving pods; None when nothing is known: too little seen, or long ago."""
        too_little = self._busy_s < _ENOUGH_S or self._placements < _ENOUGH_PLACEMENTS
        if too_little or now - self._busy_until > _STALE_AFTER_S or pods <= 0 or self._virtual_tokens <= 0:
            return None
        return pods * self._virtual_tokens / self._pod_seconds

    def _learn(self, elapsed_s: float, pods: int) -> None:
        keep = math.exp(-elapsed_s / _MEMORY_S)
        self._virtual_tokens = keep * self._virtual_tokens + self._pending
        self._pod_seconds = keep * self._pod_seconds + elapsed_s * pods
        self._busy_s += elapsed_s
        self._placements += self._pending_placements
