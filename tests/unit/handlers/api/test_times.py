"""Times of day, as they are written and as they may have been written."""

from __future__ import annotations

import pytest

from matrixinfer.handlers.api.times import timestamp, unix_seconds


def test_a_time_comes_back_by_whole_seconds():
    assert unix_seconds(timestamp(1_800_000_000.9)) == 1_800_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1970-01-01T00:00:01.5Z", 1.5), ("1970-01-01T01:00:02+01:00", 2.0), ("1970-01-01T00:00:03.123456Z", 3.123456)],
)
def test_fractions_and_offsets_are_read(text, seconds):
    assert unix_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_time_is_long_ago(text):
    assert unix_seconds(text) <= 0.0
