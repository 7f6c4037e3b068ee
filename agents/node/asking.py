"""Asks a container from outside, and says in a few words what was wrong."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

import httpx

from matrixinfer.agents.node.checks import Check, Exec, HttpGet, Sleep, TcpSocket
from matrixinfer.agents.node.expansion import expanded
from matrixinfer.agents.node.processes import signal_group
from matrixinfer.agents.node.surroundings import Surroundings
from matrixinfer.agents.node.volumes import moved

LONGEST_WHY = 300
_KEPT_BYTES = 4 * LONGEST_WHY
_LAST_WORDS_S = 0.2
"""How long the output is waited for when the process has ended: something that it left behind may hold it."""


async def ask(check: Check, around: Surroundings, timeout_s: float | None) -> str:
    """Empty when it is well. `timeout_s` None: as long as it takes."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _asked(check, around)
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    except Exception as error:  # noqa: BLE001  whatever it is, the container did not answer well
        return (str(error) or type(error).__name__)[:LONGEST_WHY]


async def _asked(check: Check, around: Surroundings) -> str:
    if isinstance(check, Exec):
        return await _run(check, around)
    if isinstance(check, HttpGet):
        return await _get(check)
    if isinstance(check, TcpSocket):
        _, writer = await asyncio.open_connection(check.host, check.port)
        writer.close()
        return ""
    assert isinstance(check, Sleep)
    await asyncio.sleep(check.seconds)
    return ""


async def _get(check: HttpGet) -> str:
    """The status alone: a body may have no end. Never by a proxy of this machine, which knows no container."""
    async with (
        httpx.AsyncClient(verify=False, timeout=None, trust_env=False) as client,
        client.stream("GET", check.url, headers=list(check.headers)) as answer,
    ):
        status = answer.status_code
    return "" if 200 <= status < 400 else f"{check.url} answered with status {status}"


class _LastWords(asyncio.Protocol):
    """The end of what comes through a pipe."""

    def __init__(self) -> None:
        self.said = b""
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.said = (self.said + data[-_KEPT_BYTES:])[-_KEPT_BYTES:]

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set()


async def _run(check: Exec, around: Surroundings) -> str:
    """It is over when its process ends, whoever else still holds its output."""
    argv = [moved(expanded(word, around.told), around.places) for word in check.argv]
    words = _LastWords()
    source, sink = os.pipe()
    reading, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: words, os.fdopen(source, "rb", 0))
    try:
        code = await _ended(argv, around, sink)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await words.ended.wait()
    finally:
        reading.close()
    said = words.said.decode(errors="replace").strip()[-LONGEST_WHY:]
    return "" if code == 0 else f"{argv[0]} ended with code {code}: {said}"


async def _ended(argv: list[str], around: Surroundings, sink: int) -> int:
    """The exit code. `sink`, for its output, is closed here. A cancellation does not reach the beginning: asyncio would
    end the child alone, and nothing that it has begun by then."""
    beginning = asyncio.create_task(_begin(argv, around, sink))
    try:
        child = await asyncio.shield(beginning)
        return await child.wait()
    finally:
        beginning.add_done_callback(_end_group)  # also what it has left behind, and whoever is in a hurry here
        await asyncio.wait([beginning])
        if beginning.exception() is None:
            with suppress(ProcessLookupError):
                await beginning.result().wait()


async def _begin(argv: list[str], around: Surroundings, sink: int) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            env=dict(around.environment),
            cwd=around.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    finally:
        os.close(sink)


def _end_group(beginning: asyncio.Task[asyncio.subprocess.Process]) -> None:
    if not beginning.cancelled() and beginning.exception() is None:
        signal_group(beginning.result().pid, signal.SIGKILL)
