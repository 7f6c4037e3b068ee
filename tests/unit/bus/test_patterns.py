"""Expressions of people, against the texts of strangers."""

from __future__ import annotations

import pytest

from matrixinfer.bus.errors import Malformed
from matrixinfer.bus.patterns import matcher


def test_the_whole_text_must_match():
    matches = matcher("be[a-z]+|ä.")
    assert [matches(text) for text in ("beta", "beta2", "abeta", "äß", "be\n")] == [True, False, False, True, False]


def test_no_expression_takes_longer_than_the_text_is_long():
    """Python's own would be at it for years: the test would run into its time limit."""
    assert not matcher("(a+)+$")("a" * 10_000 + "!")
    assert not matcher(r"(\w+\s?)*x")("word " * 10_000)


@pytest.mark.parametrize("pattern", ["(", r"(.)\1", "(?=x)", "a{1001}", "(a{900}){900}", "\udc80"])
def test_what_is_no_expression_is_refused_with_the_reason(pattern):
    with pytest.raises(Malformed, match=r"is no (regular expression|text)"):
        matcher(pattern)
