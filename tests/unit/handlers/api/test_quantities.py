"""Quantities: what is one, and which number it stands for."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from matrixinfer.handlers.api.patterns import QUANTITY
from matrixinfer.handlers.api.quantities import LONGEST, Quantity, amount, total

READER: TypeAdapter[str] = TypeAdapter(Quantity)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("20", 20),
        ("0.1", 0.1),
        (".5", 0.5),
        ("5.", 5),
        ("500m", 0.5),
        ("1n", 1e-9),
        ("7u", 7e-6),
        ("1.5k", 1500),
        ("2M", 2e6),
        ("3G", 3e9),
        ("1T", 1e12),
        ("1P", 1e15),
        ("1E", 1e18),
        ("1Ki", 1024),
        ("1.5Mi", 1.5 * 2**20),
        ("64Gi", 64 * 2**30),
        ("1Ti", 2**40),
        ("1Pi", 2**50),
        ("1Ei", 2**60),
        ("1e3", 1000),
        ("25E-2", 0.25),
        ("1e+2", 100),
    ],
)
def test_a_quantity_stands_for_a_number(text, number):
    assert amount(READER.validate_python(text)) == number


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "-1",
        "+1",
        "1 k",
        "1K",
        "1mi",
        "1e",
        "1e100",
        2**63,
        "1e3k",
        "NaN",
        "inf",
        "1,5",
        True,
        0.5,
        None,
        [1],
        "1\n",
    ],
)
def test_what_is_no_quantity_is_refused(value):
    with pytest.raises(ValidationError):
        READER.validate_python(value)


def test_a_whole_number_needs_no_quotes():
    assert READER.validate_python(20) == "20"
    with pytest.raises(ValidationError):
        READER.validate_python(-1)


def test_what_is_no_quantity_has_no_amount():
    with pytest.raises(ValueError, match="expected an amount such as 2, 500m or 16Gi, got 'much'"):
        amount("much")


@given(st.from_regex(QUANTITY, fullmatch=True).filter(lambda text: len(text) <= LONGEST))
def test_every_quantity_is_a_finite_number_that_is_not_negative(text):
    number = amount(READER.validate_python(text))
    assert math.isfinite(number)
    assert number >= 0


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
    assert READER.validate_python(good) == str(good)


@pytest.mark.parametrize("bad", [-1, True, 0.5, "", "m", "1 Gi", "-1", "1GB", "1e999", None, "9" * 41])
def test_anything_else_is_none(bad):
    with pytest.raises(ValidationError, match="expected an amount such as 2, 500m or 16Gi"):
        READER.validate_python(bad)


def test_what_is_no_amount_has_no_sum():
    with pytest.raises(ValueError, match="expected an amount"):
        total(["many"])
