"""Chance as an argument: what the deciding modules see of a `random.Random`, which only `main` makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Rng(Protocol):
    """A `random.Random` with a seed of its maker's choice."""

    def random(self) -> float:
        """In [0, 1)."""
        ...

    def sample(self, population: Sequence[T], k: int) -> list[T]:
        """`k` different elements, in random order."""
        ...
