"""What a container's dead leader has left behind is ended, and nobody else is."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from matrixinfer.agents.node.processes import end_orphans
from matrixinfer.agents.node.states import Process
from support.eventually import eventually


@contextmanager
def left_by_a_dead_leader(*, is_session: bool) -> Iterator[tuple[int, psutil.Process]]:
    """The number of the group, and what is left of it."""
    script = "sleep 60 >/dev/null & echo $!"
    leader = subprocess.Popen(
        ["sh", "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=is_session,
        process_group=None if is_session else 0,
    )
    left = psutil.Process(int(leader.communicate()[0]))
    try:
        yield leader.pid, left
    finally:
        if left.is_running():
            left.kill()


def runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


async def test_what_is_left_of_its_session_is_ended():
    with left_by_a_dead_leader(is_session=True) as (group, left):
        end_orphans(Process(group, time.time()))
        await eventually(lambda: not runs(left))


async def test_a_group_of_another_session_has_only_the_number_of_ours():
    with left_by_a_dead_leader(is_session=False) as (group, left):
        end_orphans(Process(group, time.time()))
        await asyncio.sleep(0.1)
        assert runs(left)


async def test_what_ran_before_this_system_began_has_left_nothing():
    """A machine, or the node's own container, that was started anew gives out the same numbers again."""
    with left_by_a_dead_leader(is_session=True) as (group, left):
        end_orphans(Process(group, 1.0))
        await asyncio.sleep(0.1)
        assert runs(left)
