"""Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, arXiv 1608.01350), as in KubeAI.

256 virtual nodes a pod on a ring; the prompt's beginning is the key; going round from it, the first pod takes the
request whose load with it stays within `ceil(1.25 x (all loads + 1) / pods)`. KubeAI hashes the first 100 characters,
which is less than our first block: where all prompts begin alike, all have one key, there as here.
"""

from __future__ import annotations

import bisect
import hashlib
import math

from matrixinfer.simulate.immediate import Balancer, Gateway
from matrixinfer.simulate.workload import Arrival

LOAD_FACTOR = 1.25
VIRTUAL_NODES = 256


class BoundedHash(Balancer):
    def __init__(self, gateway: Gateway) -> None:
        self._in_flight = gateway.in_flight
        ring = sorted(
            (_point(f"{pod.name}#{node}".encode()), place)
            for place, pod in enumerate(gateway.pods)
            for node in range(VIRTUAL_NODES)
        )
        self._points = [point for point, _ in ring]
        self._owners = [owner for _, owner in ring]

    def choose(self, arrival: Arrival, now: float) -> int:
        key = arrival.blocks[0] if arrival.blocks else arrival.rid.encode()
        bound = math.ceil(LOAD_FACTOR * (sum(self._in_flight) + 1) / len(self._in_flight))
        start = bisect.bisect_left(self._points, _point(key))
        for step in range(len(self._owners)):
            owner = self._owners[(start + step) % len(self._owners)]
            if self._in_flight[owner] + 1 <= bound:
                return owner
        raise AssertionError("the bound is above the mean, so some pod is below it")


def _point(key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
