"""What `doctor` makes of dead letters and of requests that nobody takes, and how its lines look."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
from typer.testing import CliRunner

from matrixinfer.bus.contracts.dead import DeadLetter
from matrixinfer.bus.subjects import Subjects
from matrixinfer.cli import checks
from matrixinfer.cli.app import app
from matrixinfer.cli.findings import Finding
from matrixinfer.cli.leftovers import FRESH_S, LONGEST_REASON, dead_letters, waiting

NOW = 1_800_000_000.0
SUBJECTS = Subjects()


def letter(reason: str = "poison: 2 agents died with it", age_s: float = 60.0) -> DeadLetter:
    return DeadLetter("REQUESTS", "mi.infer.default.a.0.t", "r:1", reason, NOW - age_s, b"")


def test_no_dead_letter_is_fine():
    assert dead_letters(0, None, NOW) == Finding("fine", "dead letters", "none")


def test_the_newest_dead_letter_is_told_with_stream_reason_and_time():
    found = dead_letters(3, letter(), NOW)
    assert found.verdict == "wrong"
    assert found.text == "3; the newest: REQUESTS, poison: 2 agents died with it, 2027-01-15T07:59:00Z"
    assert "the reason" in found.advice


@pytest.mark.parametrize(("age_s", "verdict"), [(FRESH_S - 1, "wrong"), (FRESH_S + 1, "note")])
def test_an_old_dead_letter_is_history(age_s, verdict):
    assert dead_letters(1, letter(age_s=age_s), NOW).verdict == verdict


def test_a_dead_letter_of_another_version_is_told_all_the_same():
    assert dead_letters(1, None, NOW).text == "1; the newest was written by another version"


def test_a_long_reason_becomes_one_short_line():
    text = dead_letters(1, letter("a\n b" * 1000), NOW).text
    assert "\n" not in text
    assert len(text) < LONGEST_REASON + 60


def test_requests_are_fine_while_their_pools_are_there():
    requests = {SUBJECTS.infer("default", "a", 0, "t"): 2, SUBJECTS.infer("default", "a", 1, "u"): 3}
    found = waiting(SUBJECTS, requests, {("default", "a", 0), ("default", "a", 1)})
    assert (found.verdict, found.text) == ("fine", "5 wait, each for a pool that is there")


def test_requests_of_pools_that_are_not_there_are_counted_and_named():
    requests = {
        SUBJECTS.infer("default", "gone", 0, "t"): 2,
        SUBJECTS.infer("default", "gone", 0, "u"): 1,
        SUBJECTS.infer("default", "a", 1, "t"): 1,
        SUBJECTS.infer("default", "a", 0, "t"): 9,
        "mi.infer.what": 1,
    }
    found = waiting(SUBJECTS, requests, {("default", "a", 0)})
    assert found.verdict == "wrong"
    assert found.text == (
        "5 wait for a pool that does not exist: default/gone (shard 0): 3, default/a (shard 1): 1, mi.infer.what: 1"
    )
    assert "apply the model again" in found.advice


def test_many_lost_pools_are_named_by_the_fullest():
    requests = {SUBJECTS.infer("default", f"p{number}", 0, "t"): number for number in range(1, 9)}
    text = waiting(SUBJECTS, requests, set()).text
    assert text.startswith("36 wait for a pool that does not exist: default/p8 (shard 0): 8, ")
    assert text.endswith(" and 3 more")


def test_a_space_stands_between_what_was_looked_at_and_what_was_found(monkeypatch):
    async def found(*_: object) -> AsyncIterator[Finding]:
        yield Finding("fine", "dispatcher", "88f5 is alive")
        yield Finding("wrong", "dead letters", "2", "mend it")

    monkeypatch.setattr(checks, "examine", found)
    lines = CliRunner().invoke(app, ["doctor"]).stdout.splitlines()
    assert re.fullmatch(r"✓ dispatcher +88f5 is alive", lines[0])
    assert re.fullmatch(r"✗ dead letters +2", lines[1])
    assert lines[0].index("88f5") == lines[1].index("2") == lines[2].index("→")
