"""How near two places are, by their topologies: places from the widest (zone) to the narrowest (node)."""

from __future__ import annotations

from collections.abc import Sequence


def closeness(one: Sequence[str], other: Sequence[str]) -> int:
    """How many leading places are equal."""
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        count += 1
    return count
