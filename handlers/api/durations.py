"""Durations as Kubernetes writes them: `500ms`, `90s`, `1h30m`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from matrixinfer.handlers.api.patterns import DURATION
from matrixinfer.handlers.api.rules import Rule, in_schema

LONGEST = "8760h"
"""A year. Longer is for ever, which is said by leaving a duration out."""
_TOO_LONG = f"a duration must be at most {LONGEST}"

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(duration: str) -> float:
    return sum(float(amount) * _SECONDS[unit] for amount, unit in re.findall(r"([0-9.]+)(ms|s|m|h)", duration))


def _not_for_ever(duration: str) -> str:
    if seconds(duration) > seconds(LONGEST):
        raise ValueError(f"{_TOO_LONG}, got {duration}")
    return duration


Duration = Annotated[
    str,
    Field(
        max_length=40,
        pattern=DURATION,
        json_schema_extra=in_schema(Rule(f"duration(self) <= duration('{LONGEST}')", _TOO_LONG)),
    ),
    AfterValidator(_not_for_ever),
]
