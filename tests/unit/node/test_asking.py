"""Probes and hooks against commands and servers that do what they should not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from matrixinfer.agents.node.asking import LONGEST_WHY, ask
from matrixinfer.agents.node.checks import Exec, HttpGet
from matrixinfer.agents.node.environment import LIFE_VARIABLE
from matrixinfer.agents.node.processes import marked_processes
from matrixinfer.agents.node.surroundings import Surroundings
from support.eventually import eventually

LONG_S = 20.0


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    return Surroundings(dict(os.environ), tmp_path, {}, {})


def shell(script: str) -> Exec:
    return Exec(("sh", "-c", script))


async def test_a_command_is_over_when_it_ends_whatever_it_leaves_behind(around):
    assert await ask(shell("sleep 100 & true"), around, LONG_S) == ""
    assert await ask(shell("sleep 100 & echo so; exit 3"), around, LONG_S) == "sh ended with code 3: so"


async def test_what_left_the_group_and_holds_the_output_is_not_waited_for(around, tmp_path):
    script = (
        "setsid sh -c 'echo $$$$ > pid; exec sleep 100' & while ! test -s pid; do sleep 0.01; done; echo no; exit 1"
    )
    assert await ask(shell(script), around, LONG_S) == "sh ended with code 1: no"
    psutil.Process(int((tmp_path / "pid").read_text())).kill()


def hold_up_the_loop(mark: str) -> list[psutil.Process]:
    """Until the command has begun a process of its own, which takes some milliseconds; what there is then."""
    found: list[psutil.Process] = []
    deadline_s = time.monotonic() + 0.2
    while len(found) < 2 and time.monotonic() < deadline_s:
        found = [process for process, life in marked_processes() if life == mark]
    return found


@pytest.mark.parametrize("turns", range(1, 9))
async def test_what_is_not_asked_any_more_is_ended_with_its_group_however_early(around, turns):
    mark = f"test-{os.getpid()}-{turns}"
    asking = asyncio.create_task(
        ask(shell("sleep 100 & wait"), replace(around, environment={**around.environment, LIFE_VARIABLE: mark}), LONG_S)
    )
    for _ in range(turns):
        await asyncio.sleep(0)
    begun = hold_up_the_loop(mark)
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()
    await eventually(lambda: not any(life == mark for _, life in marked_processes()))
    assert begun or turns < 8, "the last have begun"


async def test_of_endless_words_the_last_are_kept(around):
    why = await ask(shell("yes | head -c 3000000; echo the end; exit 1"), around, LONG_S)
    assert why.endswith("y\ny\nthe end")
    assert len(why) < 2 * LONGEST_WHY
    assert await ask(shell("yes"), around, 0.3) == "no answer within 0.3 s"


@contextlib.asynccontextmanager
async def server(head: bytes, *, is_endless: bool = False) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """Its port, and whether an answer has ended."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while is_endless:
                writer.write(b"x" * 65536)
                await writer.drain()
        writer.close()
        ended.set()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], ended
    finally:
        listening.close()


async def test_a_page_without_an_end_is_well_by_its_status(around):
    async with server(b"HTTP/1.1 200 OK", is_endless=True) as (port, ended):
        assert await ask(HttpGet(f"http://127.0.0.1:{port}/"), around, LONG_S) == ""
        await eventually(ended.is_set)


async def test_no_proxy_of_the_machine_is_asked(around, monkeypatch):
    async with server(b"HTTP/1.1 204 No Content") as (port, _):
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        assert await ask(HttpGet(f"http://127.0.0.1:{port}/"), around, LONG_S) == ""
