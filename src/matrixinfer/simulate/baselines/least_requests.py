"""Least requests: the pod with the fewest requests of this gateway under way; among equals one by chance."""

from __future__ import annotations

from matrixinfer.simulate.immediate import Balancer, Gateway
from matrixinfer.simulate.workload import Arrival


class LeastRequests(Balancer):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def choose(self, arrival: Arrival, now: float) -> int:
        return self._gateway.least_loaded()
