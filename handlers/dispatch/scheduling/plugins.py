"""The plug-ins that a profile was compiled to, and their methods as one decision calls them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.port import Ask, Filter, Picker, Scorer
from matrixinfer.handlers.dispatch.scheduling.timings import Stopwatch


class ScorerCall(NamedTuple):
    """`share` is the scorer's weight over the sum of all."""

    name: str
    share: float
    score: Callable[[Ask], Sequence[float]]


class Calls(NamedTuple):
    filters: list[Callable[[Request, Sequence[Pod], float], Sequence[Pod]]]
    scorers: list[ScorerCall]
    pick: Callable[[Ask, Sequence[float], Rng], int]

    def keep(self, request: Request, pods: Sequence[Pod], now: float) -> Sequence[Pod]:
        """Those of `pods` that every filter keeps."""
        for keep in self.filters:
            pods = keep(request, pods, now)
            if not pods:
                break
        return pods


class Plugins(NamedTuple):
    """With their names; scorers with their weights."""

    filters: list[tuple[str, Filter]]
    scorers: list[tuple[str, float, Scorer]]
    picker: tuple[str, Picker]

    def everybody(self) -> list[object]:
        filters = [plugin for _, plugin in self.filters]
        scorers = [plugin for _, _, plugin in self.scorers]
        return [*filters, *scorers, self.picker[1]]

    def calls(self) -> Calls:
        total = sum(weight for _, weight, _ in self.scorers)
        return Calls(
            [plugin.keep for _, plugin in self.filters],
            [ScorerCall(name, weight / total, plugin.score) for name, weight, plugin in self.scorers],
            self.picker[1].pick,
        )

    def timed_calls(self, stopwatch: Stopwatch) -> Calls:
        """The same, measured under kind and name, as `scorer token_load`."""
        plain, picker = self.calls(), self.picker[0]
        named = zip(self.filters, plain.filters, strict=True)
        return Calls(
            [stopwatch.around(f"filter {name}", keep) for (name, _), keep in named],
            [call._replace(score=stopwatch.around(f"scorer {call.name}", call.score)) for call in plain.scorers],
            stopwatch.around(f"picker {picker}", plain.pick),
        )
