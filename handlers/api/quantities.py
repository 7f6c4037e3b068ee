"""Quantities as Kubernetes writes them: `20`, `"0.5"`, `500m`, `64Mi`, `1e3`. Never negative here."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from matrixinfer.handlers.api.patterns import QUANTITY
from matrixinfer.handlers.api.sentences import shown

LONGEST = 32
"""Characters: far beyond what any quantity needs."""

_FACTORS = {
    "": Decimal(1),
    **{sign: Decimal(10) ** power for sign, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)},
    **{f"{sign}i": Decimal(1024) ** power for power, sign in enumerate("KMGTPE", start=1)},
}


def _as_text(value: object) -> str:
    """A whole number needs no quotes; any other does, for an API server takes no fractions where text may stand."""
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise ValueError(f"expected a whole number or a quantity in quotes, e.g. 20 or '500m', got {shown(value)}")
    return value if isinstance(value, str) else str(value)


Quantity = Annotated[
    str,
    Field(max_length=LONGEST, pattern=QUANTITY),
    BeforeValidator(_as_text),
    WithJsonSchema(
        {"x-kubernetes-int-or-string": True, "pattern": QUANTITY, "maxLength": LONGEST, "minimum": 0},
    ),
]


def amount(quantity: str) -> float:
    """The number that a quantity stands for: `500m` is 0.5."""
    return float(_exact(quantity))


def total(quantities: Iterable[str]) -> str:
    """Their sum: a whole number, or thousandths rounded up."""
    together = sum((Fraction(_exact(one)) for one in quantities), start=Fraction(0))
    return str(together.numerator) if together.denominator == 1 else f"{math.ceil(together * 1000)}m"


def largest(quantities: Iterable[str]) -> str:
    """Of one at least."""
    return max(quantities, key=_exact)


def _exact(quantity: str) -> Decimal:
    match = re.fullmatch(r"([0-9.]+)(.*)", quantity)
    if match is None:
        raise ValueError(f"expected a quantity, got {shown(quantity)}")
    number, suffix = match.groups()
    factor = _FACTORS.get(suffix)
    return Decimal(number + suffix) if factor is None else Decimal(number) * factor
