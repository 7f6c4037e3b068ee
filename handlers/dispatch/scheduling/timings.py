"""How long each plug-in takes, by a sample of its calls: measuring each would cost more than some of them do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import msgspec

P = ParamSpec("P")
R = TypeVar("R")


class Timing(msgspec.Struct):
    """Of one plug-in's measured calls, in seconds."""

    calls: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0

    @property
    def mean_s(self) -> float:
        return self.total_s / self.calls if self.calls else 0.0


class Stopwatch:
    """`clock` gives seconds, from any beginning."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.timings: dict[str, Timing] = {}

    def around(self, name: str, call: Callable[P, R]) -> Callable[P, R]:
        """The same call, counted and measured under `name`."""
        timing = self.timings.setdefault(name, Timing())
        clock = self._clock

        @functools.wraps(call)
        def measured(*args: P.args, **kwargs: P.kwargs) -> R:
            begun = clock()
            try:
                return call(*args, **kwargs)
            finally:
                took_s = clock() - begun
                timing.calls += 1
                timing.total_s += took_s
                timing.longest_s = max(timing.longest_s, took_s)

        return measured
