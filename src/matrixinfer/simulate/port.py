"""What a policy promises to the loop: where requests go, by nothing but what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from matrixinfer.simulate.life import Life
from matrixinfer.simulate.pods import SimulatedPod
from matrixinfer.simulate.workload import Arrival


class Verdict(NamedTuple):
    """`arrival` goes to the pod of that index, now; None: it is refused. With `prefill` it goes to a pair."""

    arrival: Arrival
    pod: int | None
    prefill: int | None = None


class News(NamedTuple):
    """What one step of a pod's engine changed; a life may be in both of the first two lists. `prefilled` are those
    whose prompts it computed for another pod. It comes a bus delay after the step."""

    pod: SimulatedPod
    started: list[Life]
    finished: list[Life]
    prefilled: list[Life]


class Policy(Protocol):
    """Decides where requests run. Every request is named in exactly one verdict, unless it is cancelled before.

    `now` is virtual seconds, and never goes back. A policy may look at its pods only as a real one could: by the news,
    and every `period_s` by what they report of themselves.
    """

    period_s: float
    """How often `tick` is called; 0: never."""

    def arrive(self, arrival: Arrival, now: float) -> Sequence[Verdict]:
        """A request came. Verdicts may be of this and of others, and this one's may come with a later event."""
        ...

    def heard(self, news: News, now: float) -> Sequence[Verdict]:
        """First tokens and ends at a pod, a bus delay ago."""
        ...

    def tick(self, now: float) -> Sequence[Verdict]:
        """A period went by."""
        ...

    def cancel(self, arrival: Arrival, now: float) -> None:
        """The client left before its first token; no verdict on it may follow."""
        ...
