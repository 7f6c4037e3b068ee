"""The scorer `session_affinity`: the pod that had the session's last request. Soft: others still score by the rest of
the profile. Bounded: the sessions that were longest without a request are forgotten."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated

import msgspec

from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.parameters import Parameters, Positive
from matrixinfer.handlers.dispatch.scheduling.port import Ask

Session = tuple[str, str]
"""(tenant, session): two tenants may use one name."""


class SessionAffinityParameters(Parameters, frozen=True):
    keep_s: Positive = 3600.0
    """A session without a request for so long begins anew."""
    sessions: Annotated[int, msgspec.Meta(ge=1, le=2_000_000)] = 100_000
    """Remembered at most, about 200 bytes each."""


class SessionAffinity:
    def __init__(self, parameters: SessionAffinityParameters) -> None:
        self._keep_s = parameters.keep_s
        self._most = parameters.sessions
        self._last: OrderedDict[Session, tuple[str, float]] = OrderedDict()  # the least recently used first

    def score(self, ask: Ask) -> Sequence[float]:
        name = self._remembered(ask.request, ask.now)
        if not name:
            return [1.0] * len(ask.pods)
        return [1.0 if pod.name == name else 0.0 for pod in ask.pods]

    def wanted(self, request: Request, pods: Sequence[Pod], now: float) -> Sequence[str]:
        name = self._remembered(request, now)
        return (name,) if name else ()

    def placed(self, request: Request, pod: Pod, now: float) -> None:
        if not request.session:
            return
        key = (request.tenant, request.session)
        self._last[key] = (pod.name, now)
        self._last.move_to_end(key)
        if len(self._last) > self._most:
            self._last.popitem(last=False)  # of a plain dict it would be sought behind all that went before it

    def _remembered(self, request: Request, now: float) -> str:
        """Empty for a request without a session, and for a session without a (recent) request."""
        if not request.session:
            return ""
        name, at = self._last.get((request.tenant, request.session), ("", 0.0))
        return name if now - at <= self._keep_s else ""
