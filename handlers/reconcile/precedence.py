"""Of several objects that want the same the oldest gets it. Pure."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TypeVar

from matrixinfer.handlers.api.meta import Resource

R = TypeVar("R", bound=Resource)


def holders(subject: R, others: Iterable[R], clash: Callable[[R, R], bool]) -> list[R]:
    """The older ones, the oldest first, that have what `subject` wants. Who gets nothing, because somebody older still
    has a part of what it wants, holds nothing either: else nobody would have the rest of it."""
    older = sorted(
        (one for one in others if one.age_order < subject.age_order and not one.is_terminating),
        key=lambda one: one.age_order,
    )

    @functools.cache
    def holds(place: int) -> bool:
        return not any(clash(older[place], older[before]) and holds(before) for before in range(place))

    return [one for place, one in enumerate(older) if clash(subject, one) and holds(place)]
