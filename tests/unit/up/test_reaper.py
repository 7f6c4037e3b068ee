"""The reaper against real small processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import matrixinfer.reaper as reaper_module
from matrixinfer.reaper import MARKER, members, reap
from matrixinfer.up import parts
from matrixinfer.up.reaping import REAPER
from support.eventually import eventually

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


class Family:
    """Processes that carry the marker of one house."""

    def __init__(self) -> None:
        self.house = uuid.uuid4().hex
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *argv: str, house: str | None = None, wait_for_line: bool = False) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            argv,
            env=os.environ | {MARKER: house or self.house},
            stdout=subprocess.PIPE if wait_for_line else None,
            start_new_session=True,
        )
        self.processes.append(process)
        if process.stdout is not None:
            process.stdout.readline()
            process.stdout.close()
        while MARKER not in psutil.Process(process.pid).environ():  # none yet, for a moment
            time.sleep(0.001)
        return process


@pytest.fixture
def family() -> Iterator[Family]:
    family = Family()
    yield family
    for process in family.processes:
        process.kill()
        process.wait()


def test_it_ends_everybody_of_the_house_and_nobody_else(family: Family) -> None:
    ours = [family.start("sleep", "60") for _ in range(3)]
    stranger = family.start("sleep", "60", house="another")
    assert {process.pid for process in members(family.house)} == {process.pid for process in ours}
    assert reap(family.house) == 3
    assert [process.wait(5) for process in ours] == [-signal.SIGTERM] * 3
    assert stranger.poll() is None


def test_what_ignores_the_request_is_killed_after_the_grace(family: Family) -> None:
    stubborn = family.start(sys.executable, "-c", STUBBORN, wait_for_line=True)
    reap(family.house, grace_s=0.1)
    assert stubborn.wait(5) == -signal.SIGKILL


def test_children_of_children_are_found_by_inheritance(family: Family) -> None:
    family.start("sh", "-c", "setsid sleep 60 & echo started; wait", wait_for_line=True)
    assert reap(family.house) >= 2
    assert members(family.house) == []


def test_nothing_to_do_is_done_at_once() -> None:
    assert reap(uuid.uuid4().hex) == 0


async def test_the_process_waits_for_the_end_of_its_input_even_when_that_comes_by_a_kill(family: Family) -> None:
    victim = family.start("sleep", "60")
    holder = (
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-P', sys.argv[1], sys.argv[2]], stdin=subprocess.PIPE)\n"
        "print('held', flush=True); time.sleep(60)"
    )
    parent = family.start(sys.executable, "-c", holder, str(REAPER), family.house, house="another", wait_for_line=True)
    assert victim.poll() is None
    [watcher] = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    await eventually(lambda: victim.poll() is not None)
    await eventually(lambda: not watcher.is_running() or watcher.status() == psutil.STATUS_ZOMBIE)


def test_it_is_where_up_looks_for_it_and_knows_the_same_marker() -> None:
    assert Path(reaper_module.__file__).resolve() == REAPER
    assert parts.MARKER == MARKER


def test_it_loads_nothing_of_the_platform() -> None:
    listing = f"import runpy, sys; sys.argv = ['x', 'none']; runpy.run_path({str(REAPER)!r}, run_name='__main__');"
    script = listing + "print([name for name in sys.modules if name.startswith('matrixinfer')])"
    result = subprocess.run(
        [sys.executable, "-P", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
