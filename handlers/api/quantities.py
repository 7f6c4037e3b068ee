"""Amounts as Kubernetes writes them: `500m` of a CPU, `16Gi` of memory, and the sum of some."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from matrixinfer.handlers.api.patterns import MEANINGS, QUANTITY
from matrixinfer.handlers.api.sentences import shown

_UNITS = {"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1)}
_UNITS |= {unit: Fraction(1000) ** power for power, unit in enumerate("kMGTPE", start=1)}
_UNITS |= {f"{unit}i": Fraction(1024) ** power for power, unit in enumerate("KMGTPE", start=1)}
LONGEST = 40
"""Characters: far beyond what any amount needs."""


def _quantity(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return str(value)
    if isinstance(value, str) and len(value) <= LONGEST and re.fullmatch(QUANTITY, value):
        return value
    raise ValueError(f"{MEANINGS[QUANTITY]}, got {shown(value)}")


Quantity = Annotated[
    str,
    PlainValidator(_quantity),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": QUANTITY, "maxLength": LONGEST, "minimum": 0}),
]


def total(quantities: Iterable[str]) -> str:
    """Their sum: a whole number, or thousandths rounded up."""
    sum_ = sum((_amount(one) for one in quantities), start=Fraction(0))
    if sum_.denominator == 1:
        return str(sum_.numerator)
    return f"{math.ceil(sum_ * 1000)}m"


def largest(quantities: Iterable[str]) -> str:
    """Of one at least."""
    return max(quantities, key=_amount)


def amount(quantity: str) -> float:
    """The number that it stands for: `500m` is 0.5."""
    return float(_amount(quantity))


def _amount(quantity: str) -> Fraction:
    match = re.fullmatch(QUANTITY, quantity)
    if match is None:
        raise ValueError(f"{MEANINGS[QUANTITY]}, got {shown(quantity)}")
    number, unit = match.group(1), match.group(3) or ""
    if unit[:1] in ("e", "E") and len(unit) > 1 and unit != "Ei":
        return Fraction(number) * Fraction(10) ** int(unit[1:])
    return Fraction(number) * _UNITS[unit]
