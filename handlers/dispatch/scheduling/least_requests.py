"""Least requests: the pod with the smallest share of its slots in use; among equals, one by chance."""

from __future__ import annotations

from collections.abc import Sequence

from matrixinfer.bus.contracts.decision import Candidate
from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.port import Choice

RECORDED_CANDIDATES = 8


class LeastRequests:
    """The score of a pod is the free share of its slots."""

    name = "least-requests"

    def pick(self, request: Request, pods: Sequence[Pod], now: float, rng: Rng) -> Choice | None:
        if len(pods) == 1:
            return Choice(pods[0], [Candidate(pods[0].name, 1.0 - pods[0].load)])
        chance = rng.random
        ranked = sorted([(pod.load, chance(), pod) for pod in pods])
        best = [Candidate(pod.name, 1.0 - load) for load, _, pod in ranked[:RECORDED_CANDIDATES]]
        return Choice(ranked[0][2], best)
