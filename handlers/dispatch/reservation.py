"""A pod that is kept for one large request: without it a stream of small ones could fill every gap before it."""

from __future__ import annotations

from collections.abc import Container, Iterable

from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request

RESERVE_AFTER_S = 2.0
"""Longer than most requests need to make room by themselves; a reserved pod takes nothing else for a while."""


class Reservation:
    """One at a time, for whoever was blocked first."""

    def __init__(self) -> None:
        self.holder: Request | None = None
        self._pod = ""

    def keeps(self, pod: str, request: Request) -> bool:
        """Is the pod kept for another one?"""
        return self._pod == pod and self.holder is not request

    def is_over(self, pods: Container[str], *, waits: bool) -> bool:
        """Its holder waits no more, or its pod left: it is given up."""
        if self.holder is None or (waits and self._pod in pods):
            return False
        self.holder, self._pod = None, ""
        return True

    def wish(self, request: Request, pods: Iterable[Pod], now: float) -> None:
        """It fits nowhere. After a while the pod that is nearest to having room for it takes nothing else."""
        if self.holder is not None or now - request.blocked_since < RESERVE_AFTER_S:
            return
        serving = [pod for pod in pods if pod.is_serving()]
        if serving:
            self.holder = request
            self._pod = max(serving, key=lambda pod: (_left_tokens(pod), pod.name)).name


def _left_tokens(pod: Pod) -> int:
    return pod.told.kv_capacity_tokens - pod.footprints.kv_tokens
