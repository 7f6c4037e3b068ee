"""Conditions: replacing one among many without losing since when it holds."""

from __future__ import annotations

from collections.abc import Iterable

from matrixinfer.handlers.api.meta import Condition


def find(conditions: Iterable[Condition], type_: str) -> Condition | None:
    return next((condition for condition in conditions if condition.type == type_), None)


def is_true(conditions: Iterable[Condition], type_: str) -> bool:
    condition = find(conditions, type_)
    return condition is not None and condition.status == "True"


def condition(type_: str, holds: bool, reason: str, message: str = "") -> Condition:
    return Condition(type=type_, status="True" if holds else "False", reason=reason, message=message)


def updated(
    before: Iterable[Condition], current: Iterable[Condition], *, generation: int, now: str
) -> tuple[Condition, ...]:
    """`current` in place of `before`; one whose status did not change keeps its time of transition."""
    old = {condition.type: condition for condition in before}
    return tuple(_carried(old.get(new.type), new, generation, now) for new in current)


def _carried(old: Condition | None, new: Condition, generation: int, now: str) -> Condition:
    since = old.last_transition_time if old is not None and old.status == new.status else now
    return new.model_copy(update={"observed_generation": generation, "last_transition_time": since})
