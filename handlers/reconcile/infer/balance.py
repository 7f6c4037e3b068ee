"""Of some equal units, groups or instances of a role: which are made, and which go. Pure.

The same rule scales, replaces and recovers: units that leave count neither as there nor as gone; what is outdated goes
as far as enough others are ready, and new ones come as far as there is room.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from matrixinfer.handlers.api.rollout import RollingUpdate, resolved


@dataclass(frozen=True)
class Unit:
    """`number` is its ordinal. `cost` is what deleting it costs by its Pods' annotations, `load` what it runs. One that
    `leaves` is drained or deleted already."""

    number: int
    is_outdated: bool = False
    is_ready: bool = False
    leaves: bool = False
    cost: int = 0
    load: int = 0


@dataclass(frozen=True)
class Bounds:
    """Of a rollout, as numbers of units. `paused`: nothing is replaced."""

    unavailable: int = 1
    surge: int = 0
    partition: int = 0
    paused: bool = False

    @classmethod
    def of(cls, update: RollingUpdate, replicas: int, *, paused: bool) -> Bounds:
        unavailable = resolved(update.max_unavailable, replicas, up=False)
        surge = resolved(update.max_surge, replicas)
        if not (unavailable or surge):
            unavailable = 1
        return cls(unavailable, surge, resolved(update.partition, replicas), paused)


class Balance(NamedTuple):
    """`made` are the numbers of the units to begin with the present template; `retired` those that shall leave."""

    made: list[int]
    retired: list[int]


def balance(units: Iterable[Unit], replicas: int, bounds: Bounds) -> Balance:
    present = list(units)
    here = [unit for unit in present if not unit.leaves]
    old = sorted((unit for unit in here if unit.is_outdated), key=lambda unit: unit.number)
    kept_old = old if bounds.paused else old[: bounds.partition]
    to_replace = old[len(kept_old) :]
    most = replicas + (bounds.surge if to_replace else 0)
    retired = _surplus(here, len(here) - most) if len(here) > most else []
    left = [unit for unit in here if unit not in retired]
    retired += _replaceable([unit for unit in to_replace if unit in left], left, replicas - bounds.unavailable)
    return Balance(
        _free_numbers({unit.number for unit in present}, _places_left(present, left, kept_old, replicas, most)),
        [unit.number for unit in retired],
    )


def _surplus(here: list[Unit], count: int) -> list[Unit]:
    """Who is missed least: outdated ones, then those that are not ready, cheap, idle, and last in number."""
    order = sorted(here, key=lambda unit: (not unit.is_outdated, unit.is_ready, unit.cost, unit.load, -unit.number))
    return order[:count]


def _replaceable(to_replace: list[Unit], left: list[Unit], least_ready: int) -> list[Unit]:
    """Those that are not ready serve nobody; of the others as many as can be spared, the last in number first."""
    idle = [unit for unit in to_replace if not unit.is_ready]
    serving = sorted((unit for unit in to_replace if unit.is_ready), key=lambda unit: -unit.number)
    spare = sum(unit.is_ready for unit in left) - max(0, least_ready)
    return idle + serving[: max(0, spare)]


def _places_left(present: list[Unit], left: list[Unit], kept_old: list[Unit], replicas: int, most: int) -> int:
    """How many may be begun: those that still leave hold their places, and their hardware."""
    new = sum(not unit.is_outdated for unit in left)
    return min(most - len(present), replicas - len(kept_old) - new)


def _free_numbers(taken: set[int], count: int) -> list[int]:
    """The smallest."""
    numbers: list[int] = []
    number = 0
    while len(numbers) < count:
        if number not in taken:
            numbers.append(number)
        number += 1
    return numbers
