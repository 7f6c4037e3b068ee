"""Chance as an argument: what the deciding modules see of a `random.Random`, which only `main` makes."""

from __future__ import annotations

from typing import Protocol


class Rng(Protocol):
    """Where chance comes from: `random.Random`, or a test's."""

    def random(self) -> float:
        """In [0, 1)."""
        ...
