"""The scorer `bounded_hash`: consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam,
arXiv 1608.01350): the first pod clockwise from the key that has less than `bound` times the mean of requests.

Needs no memory of what went where: another dispatcher, or this one after a restart, answers the same.
"""

from __future__ import annotations

import bisect
import hashlib
import math
import struct
from collections.abc import Iterator, Sequence, Set
from typing import Annotated

import msgspec

from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.parameters import Parameters
from matrixinfer.handlers.dispatch.scheduling.port import Ask

_BLOCK_BYTES = 8
_PLACE_BYTES = 8
_NAME_BITS = 24
_MOST_NAMES = 4096
"""On the ring, those of pods long gone among them: then it is begun anew."""


class BoundedHashParameters(Parameters, frozen=True):
    bound: Annotated[float, msgspec.Meta(gt=1.0, le=100.0)] = 1.25
    """c of the paper: a pod takes no more than so many times the mean. Near 1: even loads; large: firm places."""
    points: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 64
    """Of each pod on the ring: the more, the evener its share of the keys. With 1,024 the shares differ by some 3 %;
    more would only take time, in which nothing is placed: a pool of 1,000 pods takes half a second to begin with."""


class BoundedHash:
    def __init__(self, parameters: BoundedHashParameters) -> None:
        self._bound = parameters.bound
        self._ring = Ring(parameters.points)

    def score(self, ask: Ask) -> Sequence[float]:
        owner = self._owner(ask.request, ask.pods, ask.everyone)
        return [1.0 if owner in ("", pod.name) else 0.0 for pod in ask.pods]

    def wanted(self, request: Request, pods: Sequence[Pod], now: float) -> Sequence[str]:
        owner = self._owner(request, pods, pods)
        return (owner,) if owner else ()

    def _owner(self, request: Request, pods: Sequence[Pod], everyone: Sequence[Pod]) -> str:
        """Among `pods`, by the mean load of `everyone`; empty for a request without a key."""
        key = request.session.encode() or request.block_hashes[:_BLOCK_BYTES]
        if not key:
            return ""
        requests = sum([pod.used for pod in everyone])
        most = math.ceil(self._bound * (requests + 1) / len(everyone))
        by_name = {pod.name: pod for pod in pods}
        self._ring.hold(by_name.keys())
        first = ""
        for name in self._ring.clockwise(request.adapter.encode() + b"/" + key):
            if (pod := by_name.get(name)) is not None:
                if pod.used < most:
                    return name
                first = first or name
        return first  # all are above the bound: only full pods can be far below the mean of everyone


class Ring:
    """Names at pseudo-random points of a circle. Equal names give equal points, in whatever order they came."""

    def __init__(self, points: int) -> None:
        self._points = points
        self._names: dict[str, int] = {}
        self._by_number: list[str] = []
        self._circle: list[int] = []  # places, each with the number of its name in the last bits

    def hold(self, names: Set[str]) -> None:
        """Take on those that are new."""
        if names <= self._names.keys():
            return
        if len(self._names.keys() | names) > _MOST_NAMES:
            self._names, self._by_number, self._circle = {}, [], []
        for name in names - self._names.keys():
            number = self._names[name] = len(self._by_number)
            self._by_number.append(name)
            self._circle += [place << _NAME_BITS | number for place in _places(name, self._points)]
        self._circle.sort()

    def clockwise(self, key: bytes) -> Iterator[str]:
        """The names at each point of the circle, from the key's place on and once around."""
        start = bisect.bisect_left(self._circle, _place(key) << _NAME_BITS)
        for index in range(start - len(self._circle), start):
            yield self._by_number[self._circle[index] & (2**_NAME_BITS - 1)]


def _place(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=_PLACE_BYTES).digest(), "big")


def _places(name: str, count: int) -> list[int]:
    """As many, 8 of each hash."""
    hashes = -(-count // 8)
    data = b"".join([hashlib.blake2b(f"{name}#{number}".encode()).digest() for number in range(hashes)])
    return list(struct.unpack(f">{8 * hashes}Q", data))[:count]
