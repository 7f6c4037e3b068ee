"""What a scheduler promises to the queue that asks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from matrixinfer.bus.contracts.decision import Candidate
from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request


class Choice(NamedTuple):
    """The chosen pod, and the best candidates, best first, for the record; scores are in [0, 1], more is better."""

    pod: Pod
    candidates: list[Candidate]


class Scheduler(Protocol):
    """Picks among pods that have room. Holds nothing that must outlive the process."""

    name: str
    """How decisions name it."""

    def pick(self, request: Request, pods: Sequence[Pod], rng: Rng) -> Choice | None:
        """One of `pods`, or None when the request shall wait for a better one. `pods` is not empty."""
        ...
