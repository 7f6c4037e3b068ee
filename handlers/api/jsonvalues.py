"""What JSON can say and each of its readers takes: a manifest, and what is handed on out of it, hold nothing else.

YAML says more (dates, sets, half characters, numbers without an end), and Python's own JSON does too; an API server, a
bus and a node would each stumble over it in their own way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from matrixinfer.handlers.api.sentences import is_text, shown

_BITS = 64
_LEAST, _MOST = -(2 ** (_BITS - 1)), 2 ** (_BITS - 1) - 1
_SHOWN_STEPS = 8
"""Of the path to what is nested too deeply: nobody reads a hundred."""

Path = tuple[int | str, ...]


class Unfit(NamedTuple):
    """`problem` is a sentence without the name of the field."""

    path: Path
    problem: str


def unfit(document: object, deepest: int | None = None) -> Iterator[Unfit]:
    """What in `document` is no JSON; `deepest`: objects and lists inside each other, `document` itself counted."""
    left: list[tuple[Path, int, object]] = [((), 1, document)]
    while left:
        path, depth, value = left.pop()
        if not isinstance(value, dict | list | tuple):
            problem = _problem(value)
            if problem:
                yield Unfit(path, problem)
        elif deepest is not None and depth > deepest:
            yield Unfit(path[:_SHOWN_STEPS], f"expected at most {deepest} levels of objects and lists")
        elif isinstance(value, dict):
            yield from (Unfit(path, _wrong_name(name)) for name in value if not is_text(name))
            named = [((*path, name), depth + 1, one) for name, one in value.items() if is_text(name)]
            left += reversed(named)
        else:
            left += reversed([((*path, index), depth + 1, one) for index, one in enumerate(value)])


def _problem(value: object) -> str:
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, str):
        return "" if is_text(value) else f"expected text that is valid Unicode, got {shown(value)}"
    if isinstance(value, int):
        return "" if _LEAST <= value <= _MOST else f"expected a number of at most {_BITS} bits, got {shown(value)}"
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"expected a finite number, got {value}"
    return (
        f"expected text, a number, true, false, a list or an object, got {shown(value)}; dates need quotes to be text"
    )


def _wrong_name(name: object) -> str:
    if isinstance(name, str):
        return f"expected names that are valid Unicode, got {shown(name)}"
    return f"expected text as the name of a field, got {shown(name)}"
