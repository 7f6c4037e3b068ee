"""A container's log: its end, and what comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from matrixinfer.cli.log_files import BLOCK_BYTES, Follower, last_lines


@pytest.mark.parametrize(
    ("text", "count", "lines"),
    [
        ("", 3, []),
        ("a\nb\nc\n", 2, ["b", "c"]),
        ("a\nb\nc", 2, ["b", "c"]),
        ("a\nb\n", 9, ["a", "b"]),
        ("a\nb\n", None, ["a", "b"]),
        ("a\nb\n", 0, []),
    ],
)
def test_the_last_lines(tmp_path: Path, text: str, count: int | None, lines: list[str]) -> None:
    log = tmp_path / "c.log"
    log.write_text(text)
    assert last_lines(log, count) == lines


def test_lines_longer_than_a_block_are_whole(tmp_path: Path) -> None:
    log = tmp_path / "c.log"
    long = "x" * (2 * BLOCK_BYTES + 7)
    log.write_text(f"first\n{long}\nlast\n")
    assert last_lines(log, 2) == [long, "last"]


def test_what_comes_is_read_line_by_line_also_from_a_file_that_was_begun_anew(tmp_path: Path) -> None:
    log = tmp_path / "c.log"
    log.write_text("before\n")
    follower = Follower(log)
    with log.open("a") as output:
        output.write("one\ntw")
    assert list(follower.lines()) == ["one"]
    with log.open("a") as output:
        output.write("o\nlast of the old\n")
    log.rename(tmp_path / "c.log.1")
    assert list(follower.lines()) == ["two", "last of the old"], "nothing new is there yet"
    log.write_text("new\n")
    assert list(follower.lines()) == ["new"]
    follower.close()
