"""Random: any pod, each with the same chance."""

from __future__ import annotations

from matrixinfer.simulate.immediate import Balancer, Gateway
from matrixinfer.simulate.workload import Arrival


class RandomChoice(Balancer):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._indices = range(len(gateway.pods))

    def choose(self, arrival: Arrival, now: float) -> int:
        return self._gateway.any_of(self._indices)
