"""The filter `role`: pods that play one of some roles, or none of some others. Prefill pods serve nothing alone."""

from __future__ import annotations

from collections.abc import Sequence

from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.parameters import Parameters


class RoleParameters(Parameters, frozen=True):
    only: frozenset[str] = frozenset()
    """Roles that may get requests; empty: any."""
    without: frozenset[str] = frozenset({"prefill"})
    """Roles that never do."""


class Role:
    def __init__(self, parameters: RoleParameters) -> None:
        self._only, self._without = parameters.only, parameters.without

    def keep(self, request: Request, pods: Sequence[Pod], now: float) -> Sequence[Pod]:
        only, without = self._only, self._without
        return [pod for pod in pods if pod.role not in without and (not only or pod.role in only)]
