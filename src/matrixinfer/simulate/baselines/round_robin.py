"""Round robin: the pods in turn, as a Kubernetes Service nearly does."""

from __future__ import annotations

from matrixinfer.simulate.immediate import Balancer, Gateway
from matrixinfer.simulate.workload import Arrival


class RoundRobin(Balancer):
    def __init__(self, gateway: Gateway) -> None:
        self._count = len(gateway.pods)
        self._last = -1

    def choose(self, arrival: Arrival, now: float) -> int:
        self._last = (self._last + 1) % self._count
        return self._last
