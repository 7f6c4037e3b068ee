"""Of several objects that want the same the oldest gets it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from matrixinfer.handlers.api.meta import Resource

R = TypeVar("R", bound=Resource)


def holders(subject: R, others: Iterable[R], clash: Callable[[R, R], bool]) -> list[R]:
    """The older ones, the oldest first, that have what `subject` wants. Who gets nothing, because somebody older still
    has a part of what it wants, holds nothing either: else nobody would have the rest of it."""
    older = [one for one in others if one.age_order < subject.age_order and not one.is_terminating]
    if not any(clash(subject, one) for one in older):
        return []
    holding: list[R] = []
    for one in sorted(older, key=lambda one: one.age_order):
        if not any(clash(one, other) for other in holding):
            holding.append(one)
    return [one for one in holding if clash(subject, one)]
