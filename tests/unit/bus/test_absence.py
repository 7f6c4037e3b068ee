"""Somebody is gone only after silence that we would have noticed the end of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.bus.absence import AbsenceRule, Heard, heard
from matrixinfer.bus.errors import BusError, Denied, NobodyThere, TimedOut, Unavailable

LIMIT_S = 6.0


def test_the_first_silence_is_not_yet_absence() -> None:
    assert not AbsenceRule[str](LIMIT_S).observe("g", 100.0, "nobody", 0.0)


def test_silence_for_the_limit_over_an_unbroken_connection_is_absence() -> None:
    rule = AbsenceRule[str](LIMIT_S)
    assert [rule.observe("g", at, "nobody", 0.0) for at in (100.0, 102.0, 105.9, 106.0)] == [False, False, False, True]


@pytest.mark.parametrize("outcome", ["answered", "unknown"])
def test_anything_else_heard_in_between_starts_the_count_anew(outcome: Heard) -> None:
    rule = AbsenceRule[str](LIMIT_S)
    rule.observe("g", 100.0, "nobody", 0.0)
    rule.observe("g", 103.0, outcome, 0.0)
    assert not rule.observe("g", 107.0, "nobody", 0.0)
    assert rule.observe("g", 113.0, "nobody", 0.0)


def test_a_connection_that_broke_in_between_starts_the_count_anew() -> None:
    rule = AbsenceRule[str](LIMIT_S)
    rule.observe("g", 100.0, "nobody", 0.0)
    assert not rule.observe("g", 107.0, "nobody", 103.0)
    assert not rule.observe("g", 112.9, "nobody", 103.0)
    assert rule.observe("g", 113.0, "nobody", 103.0)


def test_a_connection_that_is_down_tells_nothing() -> None:
    rule = AbsenceRule[str](LIMIT_S)
    rule.observe("g", 100.0, "nobody", 0.0)
    assert not rule.observe("g", 107.0, "nobody", None)
    assert not rule.observe("g", 108.0, "nobody", 0.0)


def test_keys_are_judged_apart_and_can_be_forgotten() -> None:
    rule = AbsenceRule[str](LIMIT_S)
    for key in ("a", "b", "c"):
        rule.observe(key, 100.0, "nobody", 0.0)
    rule.observe("a", 101.0, "answered", 0.0)
    rule.forget("b")
    assert [rule.observe(key, 106.0, "nobody", 0.0) for key in ("a", "b", "c")] == [False, False, True]
    rule.keep_only({"a"})
    assert not rule.observe("c", 107.0, "nobody", 0.0)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, "answered"),
        (TimedOut("late"), "answered"),
        (NobodyThere("none"), "nobody"),
        (Unavailable("down"), "unknown"),
        (Denied("no"), "unknown"),
    ],
)
def test_the_end_of_a_request_tells_what_was_heard(error: BusError | None, expected: Heard) -> None:
    assert heard(error) == expected


@given(
    st.lists(
        st.tuples(
            st.floats(0.1, 5.0),
            st.sampled_from(["answered", "nobody", "nobody", "nobody", "unknown"]),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_gone_always_rests_on_an_unbroken_run_of_silence_as_long_as_the_limit(
    steps: list[tuple[float, Heard, bool]],
) -> None:
    rule = AbsenceRule[str](LIMIT_S)
    now, up_since, run_began = 100.0, 0.0, None
    for gap_s, outcome, broke in steps:
        now += gap_s
        if broke:
            up_since, run_began = now - gap_s / 2, None
        run_began = (now if run_began is None else run_began) if outcome == "nobody" else None
        gone = rule.observe("g", now, outcome, up_since)
        assert gone == (run_began is not None and now - run_began >= LIMIT_S)
