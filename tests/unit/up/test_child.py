"""Supervision of one part's process, with real small processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from matrixinfer.bus.clock import SystemClock
from matrixinfer.up.child import DEATHS_AT_START, Child, last_line, last_lines
from matrixinfer.up.errors import PartFailed
from matrixinfer.up.parts import PartSpec
from support.eventually import eventually

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


class Watched:
    """A child with what it said."""

    def __init__(self, folder: Path, *argv: str, stop_s: float = 5.0) -> None:
        self.said: list[str] = []
        self._others = set(psutil.Process().children(recursive=True))
        spec = PartSpec("part", argv, {"EXTRA": "given"}, stop_s)
        self.child = Child(spec, folder, SystemClock(), self.said.append)

    def pids(self) -> list[int]:
        mine = set(psutil.Process().children(recursive=True)) - self._others
        return [process.pid for process in mine if process.status() != psutil.STATUS_ZOMBIE]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.child.run())
        try:
            yield task
        finally:
            await self.child.stop()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def watched(tmp_path: Path) -> Callable[..., Watched]:
    return lambda *argv, **options: Watched(tmp_path, *argv, **options)


async def test_its_output_goes_to_its_log_and_it_gets_its_environment(watched) -> None:
    part = watched("sh", "-c", 'echo "$EXTRA"; echo bad >&2; sleep 60')
    async with part.running():
        await eventually(lambda: part.child.log.exists() and part.child.log.read_text() == "given\nbad\n")
    assert part.pids() == []


async def test_a_part_that_dies_again_and_again_at_the_start_is_given_up_with_its_last_words(watched) -> None:
    part = watched("sh", "-c", "echo I cannot >&2; exit 7")
    async with part.running() as task:
        with pytest.raises(PartFailed, match=r"(?s)ended with code 7.*I cannot"):
            await task
    assert part.child.log.read_text().count("I cannot") == DEATHS_AT_START


async def test_a_part_that_ends_by_itself_is_told_with_its_last_word(watched) -> None:
    part = watched("sh", "-c", "echo first; echo the disk is full >&2; echo; exit 7")
    async with part.running():
        await eventually(lambda: part.said)
    assert "part ended with code 7 (the disk is full); starts again in" in part.said[0]


async def test_a_settled_part_is_started_again_however_often_it_dies(watched) -> None:
    part = watched("sleep", "60")
    part.child.is_settled = True
    async with part.running() as task:
        for deaths in range(DEATHS_AT_START + 1):
            [pid] = await eventually(part.pids)
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda deaths=deaths: len(part.said) == deaths + 1)
            await eventually(lambda pid=pid: part.pids() not in ([], [pid]))
        assert not task.done()
    assert "was ended by signal 9; starts" in part.said[0]


async def test_a_part_that_ignores_the_request_is_killed_in_time(watched) -> None:
    part = watched(sys.executable, "-c", STUBBORN, stop_s=0.2)
    async with part.running():
        await eventually(lambda: part.child.log.exists() and part.child.log.read_text())
    assert part.pids() == []


async def test_what_a_dead_part_leaves_in_its_group_is_ended(watched) -> None:
    part = watched("sh", "-c", "sleep 60 & echo $!; exec sleep 61")
    part.child.is_settled = True
    async with part.running():
        orphan = int(await eventually(lambda: part.child.log.exists() and part.child.log.read_text()))
        leader = await eventually(lambda: [pid for pid in part.pids() if pid != orphan])
        os.kill(leader[0], signal.SIGKILL)
        await eventually(
            lambda: not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE
        )


def test_the_end_of_a_long_log_is_shown_and_a_missing_one_is_said(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    assert "(empty)" in last_lines(log)
    assert last_line(log) == "its log is empty"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    shown = last_lines(log).splitlines()
    assert shown[0] == f"the end of {log}:"
    assert shown[-1] == "  line 9999"
    assert len(shown) == 16
