"""Objects whose fields we do not know, e.g. parts of Kubernetes' own and the settings of plug-ins: anything that JSON
and an API server can hold, and that can be read again."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator

from matrixinfer.handlers.api.sentences import shown

MOST_LEVELS = 100
"""Objects and lists in one another. Kubernetes' own have about twenty."""
_LEAST, _MOST = -(2**63), 2**63 - 1
"""Kubernetes reads a whole number into 64 bits."""
_LONGEST_PATH = 120
"""As told."""


def _checked(value: dict[str, Any]) -> dict[str, Any]:
    _check(value, "", MOST_LEVELS)
    return value


def _check(value: object, path: str, levels: int) -> None:
    """Raises ValueError, which begins with the path to what is wrong."""
    if isinstance(value, dict | list | tuple):
        if levels == 0:
            raise _wrong(path, f"expected at most {MOST_LEVELS} objects and lists in one another", value)
        _check_below(value, path, levels - 1)
    elif (expected := _expected_of(value)) is not None:
        raise _wrong(path, expected, value)


def _check_below(value: dict[object, object] | list[object] | tuple[object, ...], path: str, levels: int) -> None:
    if not isinstance(value, dict):
        for place, part in enumerate(value):
            _check(part, f"{path}[{place}]", levels)
        return
    for name, part in value.items():
        if not isinstance(name, str) or not _is_unicode(name):
            raise _wrong(path, "expected text as the name of a field", name)
        _check(part, f"{path}.{name}", levels)


def _wrong(path: str, expected: str, got: object) -> ValueError:
    place = path.removeprefix(".")
    if len(place) > _LONGEST_PATH:
        place = f"{place[:_LONGEST_PATH]}…"
    return ValueError(f"{f'{place}: ' if place else ''}{expected}, got {shown(got)}")


def _expected_of(value: object) -> str | None:
    """What a single value should have been; None when it is right."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        return None if _is_unicode(value) else "expected text that is valid Unicode"
    if isinstance(value, int):
        return None if _LEAST <= value <= _MOST else "expected a whole number of at most 64 bits"
    if isinstance(value, float):
        return None if math.isfinite(value) else "expected a finite number"
    return "expected what JSON can hold; dates and the like need quotes to be text"


def _is_unicode(text: str) -> bool:
    """A half of a pair of surrogates is no character: it can be in Python's text, and in no file."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


JsonObject = Annotated[dict[str, Any], AfterValidator(_checked)]
"""Any: what is in it, somebody else knows."""
