"""The plug-ins that a profile was compiled to, and their methods as one decision calls them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters, Parameters
from matrixinfer.handlers.dispatch.scheduling.pickers.max_score import MaxScore
from matrixinfer.handlers.dispatch.scheduling.port import Ask, Filter, Picker, Scorer
from matrixinfer.handlers.dispatch.scheduling.safeguard import Safeguard
from matrixinfer.handlers.dispatch.scheduling.timings import Stopwatch

T = TypeVar("T")

_BEST = MaxScore(NoParameters())


class ScorerCall(NamedTuple):
    """`share` is the scorer's weight over the sum of all."""

    name: str
    share: float
    score: Callable[[Ask], Sequence[float]]


class Calls(NamedTuple):
    """Filters and picker with their kinds and names. One that fails is told to `safeguard`, and the decision goes on
    without it: a filter keeps all, and the best is picked. Scorers are the judge's to guard."""

    filters: list[tuple[str, Callable[[Request, Sequence[Pod], float], Sequence[Pod]]]]
    scorers: list[ScorerCall]
    picker: tuple[str, Callable[[Ask, Sequence[float], Rng], int]]
    safeguard: Safeguard

    def keep(self, request: Request, pods: Sequence[Pod], now: float) -> Sequence[Pod]:
        """Those of `pods` that every filter keeps."""
        for name, keep in self.filters:
            try:
                kept = keep(request, pods, now)
                pods = kept if isinstance(kept, list | tuple) else list(kept)  # a generator runs, and fails, only here
            except Exception as error:  # noqa: BLE001 - of a plug-in that anybody may have written
                self.safeguard.failed(name, error)
            if not pods:
                return ()
        return pods

    def pick(self, ask: Ask, totals: Sequence[float], rng: Rng) -> int:
        name, pick = self.picker
        try:
            index = operator.index(pick(ask, totals, rng))
            if not 0 <= index < len(totals):
                raise IndexError(f"picked {index} of {len(totals)}")
        except Exception as error:  # noqa: BLE001 - of a plug-in that anybody may have written
            self.safeguard.failed(name, error)
            return _BEST.pick(ask, totals, rng)
        return index


class Made(NamedTuple, Generic[T]):
    """A plug-in, and what it was made of."""

    name: str
    parameters: Parameters
    plugin: T

    def or_equal(self, others: Sequence[Made[T]]) -> Made[T]:
        """The first of `others` that was made of the same; itself when there is none."""
        for other in others:
            if (other.name, other.parameters) == (self.name, self.parameters):
                return other
        return self


class Plugins(NamedTuple):
    """Scorers with their weights."""

    filters: list[Made[Filter]]
    scorers: list[tuple[float, Made[Scorer]]]
    picker: Made[Picker]

    def everybody(self) -> list[tuple[str, object]]:
        """Kind and name, and the plug-in."""
        filters = [(f"filter {made.name!r}", made.plugin) for made in self.filters]
        scorers = [(f"scorer {made.name!r}", made.plugin) for _, made in self.scorers]
        return [*filters, *scorers, (f"picker {self.picker.name!r}", self.picker.plugin)]

    def keeping(self, former: Plugins) -> Plugins:
        """The same, with the plug-ins of `former` where they are equal: with all that these have learned."""
        scorers = [made for _, made in former.scorers]
        return Plugins(
            [made.or_equal(former.filters) for made in self.filters],
            [(weight, made.or_equal(scorers)) for weight, made in self.scorers],
            self.picker.or_equal([former.picker]),
        )

    def but_role(self) -> Plugins:
        """For the halves of a request, of which each has a role that is not the profile's to choose."""
        return self._replace(filters=[made for made in self.filters if made.name != "role"])

    def calls(self, safeguard: Safeguard) -> Calls:
        total = sum(weight for weight, _ in self.scorers)
        return Calls(
            [(f"filter {made.name!r}", made.plugin.keep) for made in self.filters],
            [ScorerCall(made.name, weight / total, made.plugin.score) for weight, made in self.scorers],
            (f"picker {self.picker.name!r}", self.picker.plugin.pick),
            safeguard,
        )

    def timed_calls(self, stopwatch: Stopwatch, safeguard: Safeguard) -> Calls:
        """The same, measured under kind and name, as `scorer token_load`."""
        filters, scorers, (picker, pick), _ = self.calls(safeguard)
        named = zip(self.filters, filters, strict=True)
        return Calls(
            [(name, stopwatch.around(f"filter {made.name}", keep)) for made, (name, keep) in named],
            [call._replace(score=stopwatch.around(f"scorer {call.name}", call.score)) for call in scorers],
            (picker, stopwatch.around(f"picker {self.picker.name}", pick)),
            safeguard,
        )
