"""Durations as Kubernetes writes them: `500ms`, `90s`, `1h30m`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from matrixinfer.handlers.api.patterns import DURATION

Duration = Annotated[str, Field(pattern=DURATION)]

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(duration: str) -> float:
    return sum(float(amount) * _SECONDS[unit] for amount, unit in re.findall(r"([0-9.]+)(ms|s|m|h)", duration))
