"""What pydantic says about a field, in words for the person who wrote the manifest: expected this, got that."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

from matrixinfer.handlers.api import patterns

_EXPECTATIONS = {
    "bool_type": "expected true or false",
    "dict_type": "expected names with their values",
    "enum": "expected {expected}",
    "greater_than_equal": "expected at least {ge}",
    "int_type": "expected a whole number",
    "invalid_key": "expected text as the name of a field",
    "less_than_equal": "expected at most {le}",
    "literal_error": "expected {expected}",
    "model_type": "expected an object with fields of its own",
    "recursion_loop": "expected a value that does not hold itself",
    "string_too_long": "expected at most {max_length} characters",
    "string_too_short": "expected {min_length} or more characters",
    "string_type": "expected text; numbers, true and false need quotes to be text",
    "string_unicode": "expected text that is valid Unicode",
    "too_long": "expected at most {max_length} entries",
    "too_short": "expected {min_length} or more entries",
    "tuple_type": "expected a list",
}
"""By pydantic's type of error; the braces are filled from its context."""


NOT_JSON = "not_json"
"""The type of error of what is handed on as it is. Its context says in `within` where in it the problem is."""


def is_text(value: object) -> bool:
    """Half a character (a lone surrogate, as JSON and YAML can write it) is none."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def expectation(detail: ErrorDetails) -> str:
    """`expected a whole number`; for an error that we know nothing of, what pydantic says."""
    context: Mapping[str, Any] = detail.get("ctx", {})
    if detail["type"] == "string_pattern_mismatch":
        return patterns.MEANINGS[context["pattern"]]
    template = _EXPECTATIONS.get(detail["type"])
    if template is not None:
        return template.format_map(context)
    return detail["msg"][0].lower() + detail["msg"][1:]


def sentence(detail: ErrorDetails) -> str:
    """What is wrong with one field, without its name."""
    if detail["type"] == "extra_forbidden":
        return "unknown field"
    if detail["type"] == "missing":
        return "missing"
    if detail["type"] == "value_error":
        return detail["msg"].removeprefix("Value error, ")
    if detail["type"] == NOT_JSON:
        return detail["msg"]
    return f"{expectation(detail)}, got {shown(detail['input'])}"


def shown(value: object) -> str:
    """A value in a few words: never the whole of a large one."""
    if value is None:
        return "nothing"
    return _shortened.repr(value)


class _Shortened(reprlib.Repr):
    """Looks at a few levels and a few items of each: what is short in YAML may be endless when written out."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlist, self.maxtuple = 2, 4, 4, 4
        self.maxstring = self.maxother = 80

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if x.bit_length() < 1000 else f"a number of {x.bit_length()} bits"


_shortened = _Shortened()
