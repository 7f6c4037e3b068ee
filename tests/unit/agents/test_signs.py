"""An engine beside the agent stops after it, and not later than it must: the command that it is given is really run."""

from __future__ import annotations

import asyncio
from pathlib import Path

from matrixinfer.agents.signs import FINISHED, STOPPING, Signs
from matrixinfer.handlers.reconcile.backends import agent, roles
from support.eventually import eventually


async def engine_waits(folder: Path) -> asyncio.subprocess.Process:
    """The engine's preStop, in this folder instead of the Pod's."""
    command = [word.replace(agent.SIGNS_DIR, str(folder)) for word in roles._LET_THE_AGENT_FINISH]
    return await asyncio.create_subprocess_exec(*command)


async def test_the_engine_waits_until_the_agent_has_finished(tmp_path):
    signs, stop = Signs(tmp_path), asyncio.Event()
    telling = asyncio.create_task(signs.tell_of(stop))
    stop.set()
    await telling
    engine = await engine_waits(tmp_path)
    await asyncio.sleep(0.6)
    assert engine.returncode is None
    signs.finished()
    assert await engine.wait() == 0


async def test_the_engine_alone_waits_for_nobody(tmp_path):
    engine = await engine_waits(tmp_path)
    assert await engine.wait() == 0


async def test_signs_of_a_former_life_are_taken_away(tmp_path):
    signs = Signs(tmp_path)
    signs.finished()
    assert {path.name for path in tmp_path.iterdir()} == {STOPPING, FINISHED}
    signs.remove()
    assert not list(tmp_path.iterdir())


async def test_without_a_folder_there_are_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    signs = Signs(None)
    signs.remove()
    signs.finished()
    await eventually(lambda: not list(tmp_path.iterdir()))
