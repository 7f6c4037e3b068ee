"""Amounts are read and summed as Kubernetes does."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from matrixinfer.handlers.api.quantities import Quantity, total

quantity = TypeAdapter(Quantity)


@pytest.mark.parametrize(
    ("amounts", "sum_"),
    [
        ([], "0"),
        (["500m", "1.5"], "2"),
        (["0.1", "0.1"], "200m"),
        (["100u", "1"], "1001m"),
        (["1Gi", "1G"], str(2**30 + 10**9)),
        (["2Ei"], str(2**61)),
        (["2E", "1e3", "1E2"], str(2 * 10**18 + 1100)),
    ],
)
def test_the_sum_is_whole_or_in_thousandths_rounded_up(amounts, sum_):
    assert total(amounts) == sum_


@pytest.mark.parametrize("good", [0, 2, "2", "500m", "16Gi", "1.5", ".5", "1e3"])
def test_numbers_and_texts_are_amounts(good):
    assert quantity.validate_python(good) == str(good)


@pytest.mark.parametrize("bad", [-1, True, 0.5, "", "m", "1 Gi", "-1", "1GB", "1e999", None, "9" * 41])
def test_anything_else_is_none(bad):
    with pytest.raises(ValidationError, match="expected an amount such as 2, 500m or 16Gi"):
        quantity.validate_python(bad)


def test_what_is_no_amount_has_no_sum():
    with pytest.raises(ValueError, match="expected an amount"):
        total(["many"])
