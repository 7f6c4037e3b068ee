"""What a scheduler promises to the queue that asks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.fleet import Pod
from matrixinfer.handlers.dispatch.request import Request


@dataclass(frozen=True, slots=True)
class Score:
    """How a pod did, in [0, 1], more is better."""

    pod: str
    total: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen pod, and the best candidates with their scores, best first, for the record."""

    pod: Pod
    candidates: tuple[Score, ...]


class Scheduler(Protocol):
    """Picks among pods that have room. Holds nothing that must outlive the process."""

    name: str
    """How decisions name it."""

    def pick(self, request: Request, pods: Sequence[Pod], rng: Rng) -> Choice | None:
        """One of `pods`, or None when the request shall wait for a better one. `pods` is not empty."""
        ...
