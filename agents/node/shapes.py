"""Values of a Pod's JSON, each of the kind that its place asks for; else a ValueError that says what came instead.

What is null counts as what is not there, as with Kubernetes.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from typing import Any

Object = Mapping[str, Any]
"""A part of a Kubernetes object as JSON gives it."""

MOST = 2**31 - 1
"""Kubernetes' numbers have 32 bits; a clock of ours counts no further either."""


def part(holder: Object, name: str) -> Object:
    """Empty where it is not there."""
    value = holder.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _unexpected(name, "an object", value)
    return value


def parts(holder: Object, name: str) -> tuple[Object, ...]:
    return tuple(one for one in _items(holder, name, "a list of objects", Mapping))


def words(holder: Object, name: str) -> tuple[str, ...]:
    """Of a command line: a number, or a truth, is taken for its text."""
    return tuple(str(one) for one in _items(holder, name, "a list of words", str, int, float))


def text(holder: Object, name: str) -> str:
    value = holder.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _unexpected(name, "text", value)
    return value


def word(holder: Object, name: str) -> str:
    """Text, or a number that is taken for its text."""
    value = holder.get(name)
    if value is not None and not isinstance(value, str | int | float):
        raise _unexpected(name, "text", value)
    return "" if value is None else str(value)


def seconds(holder: Object, name: str, default: float) -> float:
    value = holder.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
        raise _unexpected(name, f"a number from 0 to {MOST}", value)
    return float(value)


def count(holder: Object, name: str, default: int) -> int:
    value = holder.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        raise _unexpected(name, f"a whole number from 0 to {MOST}", value)
    return value or default


def once_told(value: object) -> Object:
    """What has been told of something before: what is no object has told nothing."""
    return value if isinstance(value, Mapping) else {}


def all_once_told(value: object) -> list[Object]:
    return [once_told(one) for one in value] if isinstance(value, list | tuple) else []


def shown(value: object) -> str:
    """In a few words: what is written may have no end."""
    if isinstance(value, int) and value.bit_length() > 100:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, list | dict) and value:
        return f"a list of {len(value)}" if isinstance(value, list) else f"an object of {len(value)}"
    return reprlib.repr(value)


def unfit(document: object) -> str:
    """Where in `document` there is a value that no JSON but Python's knows, and what it is; empty when nowhere."""
    left = [("", document)]
    while left:
        path, value = left.pop()
        if isinstance(value, str) and _is_broken(value):
            return f"{path}: expected text, got half a character in {value!a:.100}"
        if isinstance(value, float) and not math.isfinite(value):
            return f"{path}: expected a number, got {value}"
        if isinstance(value, list):
            left += reversed([(f"{path}[{index}]", one) for index, one in enumerate(value)])
        elif isinstance(value, dict):
            broken = next((name for name in value if _is_broken(name)), None)
            if broken is not None:
                return f"{path or 'it'}: expected names, got half a character in {broken!a:.100}"
            left += reversed([(f"{path}.{name}".lstrip("."), one) for name, one in value.items()])
    return ""


def _items(holder: Object, name: str, expected: str, *kinds: type) -> list[Any]:  # Any: of these kinds
    value = holder.get(name)
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise _unexpected(name, expected, value)
    for index, one in enumerate(value):
        if not isinstance(one, kinds):
            raise _unexpected(f"{name}[{index}]", expected.removeprefix("a list of "), one)
    return list(value)


def _is_broken(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False


def _unexpected(name: str, expected: str, value: object) -> ValueError:
    return ValueError(f"{name}: expected {expected}, got {shown(value)}")
