"""How fast the pool works off what waits: learned from the requests that went to pods while room was short.

What counts is what a request was expected to cost while it waited, and not what it was charged or used: the work ahead
of a new one is made of the same expectations, so that an error of theirs divides out.
"""

from __future__ import annotations

import math

_SHORTEST_MEMORY_S = 30.0
_MEMORY_SERVICES = 4.0
"""Requests that began together end together: only over some service times is the pace a pace."""
_ENOUGH_S = 5.0
_ENOUGH_PLACEMENTS = 8
_ENOUGH_SERVICES = 2.0
_STALE_AFTER_S = 600.0


class DrainRate:
    """Virtual tokens a second and pod, decayed over the time in which room was short: thirty seconds of it, or some
    service times. At other times demand is the limit and a placement says nothing about capacity; then the memory
    stays, for ten minutes."""

    def __init__(self) -> None:
        self._virtual_tokens = 0.0
        self._pod_seconds = 0.0
        self._placements = 0.0
        self._seconds = 0.0
        self._busy_s = 0.0
        self._seen = 0
        self._in_flight = 0
        self._pending = 0.0
        self._pending_placements = 0
        self._looked_at: float | None = None
        self._was_short = False
        self._busy_until = -math.inf

    def placed(self, virtual_tokens: float) -> None:
        """A request went to a pod that counted for so much (`FairQueue.waiting_cost`)."""
        self._pending += virtual_tokens
        self._pending_placements += 1

    def tick(self, now: float, *, is_short: bool, pods: int, in_flight: int) -> None:
        """To be called a few times a second. An interval counts when room was short at its begin and its end;
        `in_flight` are the requests at the pods."""
        if self._looked_at is not None and self._was_short and is_short and pods > 0:
            self._in_flight = in_flight
            self._learn(now - self._looked_at, pods)
            self._busy_until = now
        self._pending, self._pending_placements = 0.0, 0
        self._looked_at = now
        self._was_short = is_short

    def per_s(self, now: float, pods: int) -> float | None:
        """Virtual tokens a second of so many serving pods; None when nothing is known: too little seen, or long ago."""
        enough = max(_ENOUGH_PLACEMENTS, _ENOUGH_SERVICES * self._in_flight)
        too_little = self._busy_s < _ENOUGH_S or self._seen < enough
        if too_little or now - self._busy_until > _STALE_AFTER_S or pods <= 0 or self._virtual_tokens <= 0:
            return None
        return pods * self._virtual_tokens / self._pod_seconds

    def _learn(self, elapsed_s: float, pods: int) -> None:
        keep = math.exp(-elapsed_s / self._memory_s())
        self._virtual_tokens = keep * self._virtual_tokens + self._pending
        self._pod_seconds = keep * self._pod_seconds + elapsed_s * pods
        self._placements = keep * self._placements + self._pending_placements
        self._seconds = keep * self._seconds + elapsed_s
        self._busy_s += elapsed_s
        self._seen += self._pending_placements

    def _memory_s(self) -> float:
        """By Little's law a request is at its pod for `in_flight / placements a second`."""
        service_s = self._in_flight * self._seconds / self._placements if self._placements else 0.0
        return max(_SHORTEST_MEMORY_S, _MEMORY_SERVICES * service_s)
