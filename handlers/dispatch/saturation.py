"""Are all pods behind with their prompts? Then the central queue, which is fair, is the better place to wait."""

from __future__ import annotations

import math
from collections.abc import Mapping

from matrixinfer.handlers.dispatch.pod import Pod

LOOK_AGAIN_AFTER_S = 0.005
"""Every event of every pod asks, and to find that nobody is free takes a look at each."""


class Saturation:
    """`ahead_s` 0: never."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s
        self._until = -math.inf
        self._last = ""

    def is_complete(self, pods: Mapping[str, Pod], now: float) -> bool:
        """Has each of `pods`, which have room, more than `ahead_s` of prefill ahead? Without pods there is none."""
        if not self._ahead_s or not pods:
            return False
        last = pods.get(self._last)
        if last is not None and last.prefill_ahead_s(now) <= self._ahead_s:
            return False
        if now < self._until:
            return True
        for name, pod in pods.items():
            if pod.prefill_ahead_s(now) <= self._ahead_s:
                self._last = name
                return False
        self._until = now + LOOK_AGAIN_AFTER_S
        return True
