"""Amounts as Kubernetes writes them: `500m` of a CPU, `16Gi` of memory, and the sum of some."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from matrixinfer.handlers.api.sentences import shown

_UNITS = {"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1)}
_UNITS |= {unit: Fraction(1000) ** power for power, unit in enumerate("kMGTPE", start=1)}
_UNITS |= {f"{unit}i": Fraction(1024) ** power for power, unit in enumerate("KMGTPE", start=1)}
_FORM = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]{1,2})?")


def _quantity(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return str(value)
    if isinstance(value, str) and len(value) <= 40 and _FORM.fullmatch(value):
        return value
    raise ValueError(f"expected an amount such as 2, 500m or 16Gi, got {shown(value)}")


Quantity = Annotated[str, PlainValidator(_quantity), WithJsonSchema({"x-kubernetes-int-or-string": True})]


def total(quantities: Iterable[str]) -> str:
    """Their sum: a whole number, or thousandths rounded up."""
    amount = sum((_amount(one) for one in quantities), start=Fraction(0))
    if amount.denominator == 1:
        return str(amount.numerator)
    return f"{math.ceil(amount * 1000)}m"


def largest(quantities: Iterable[str]) -> str:
    """Of one at least."""
    return max(quantities, key=_amount)


def _amount(quantity: str) -> Fraction:
    match = _FORM.fullmatch(quantity)
    if match is None:
        raise ValueError(f"expected an amount such as 2, 500m or 16Gi, got {shown(quantity)}")
    number, unit = match.group(1), match.group(2) or ""
    if unit[:1] in ("e", "E") and len(unit) > 1 and unit != "Ei":
        return Fraction(number) * Fraction(10) ** int(unit[1:])
    return Fraction(number) * _UNITS[unit]
