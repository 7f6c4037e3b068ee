"""Wildcards of the memory twin against a plain reading of their definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.bus.memory.matching import matches, overlaps

TOKENS = st.sampled_from(["a", "b", "c"])
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=4).map(".".join)
PATTERNS = st.tuples(
    st.lists(st.sampled_from(["a", "b", "*"]), max_size=3), st.sampled_from([[], [">"], ["a"], ["*"]])
).map(lambda parts: ".".join(parts[0] + parts[1]) or ">")


def by_definition(pattern: list[str], subject: list[str]) -> bool:
    if pattern == [">"]:
        return bool(subject)
    if not pattern or not subject:
        return not pattern and not subject
    return pattern[0] in ("*", subject[0]) and by_definition(pattern[1:], subject[1:])


@given(PATTERNS, SUBJECTS)
def test_a_subject_matches_as_defined(pattern: str, subject: str) -> None:
    assert matches(pattern, subject) == by_definition(pattern.split("."), subject.split("."))


@given(PATTERNS, PATTERNS, SUBJECTS)
def test_patterns_that_share_a_subject_overlap(first: str, second: str, subject: str) -> None:
    if matches(first, subject) and matches(second, subject):
        assert overlaps(first, second)
        assert overlaps(second, first)
