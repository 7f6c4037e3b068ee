"""Asks a container from outside, and says in a few words what was wrong."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

import httpx

from matrixinfer.agents.node.checks import Check, Exec, HttpGet, Sleep, TcpSocket
from matrixinfer.agents.node.expansion import expanded
from matrixinfer.agents.node.processes import signal_group
from matrixinfer.agents.node.surroundings import Surroundings
from matrixinfer.agents.node.volumes import moved

LONGEST_WHY = 300


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
        async with httpx.AsyncClient(verify=False, timeout=None) as client:
            status = (await client.get(check.url, headers=list(check.headers))).status_code
        return "" if 200 <= status < 400 else f"{check.url} answered with status {status}"
    if isinstance(check, TcpSocket):
        _, writer = await asyncio.open_connection(check.host, check.port)
        writer.close()
        return ""
    assert isinstance(check, Sleep)
    await asyncio.sleep(check.seconds)
    return ""


async def _run(check: Exec, around: Surroundings) -> str:
    argv = [moved(expanded(word, around.told), around.places) for word in check.argv]
    child = await asyncio.create_subprocess_exec(
        *argv,
        env=dict(around.environment),
        cwd=around.folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = await child.communicate()
    finally:
        signal_group(child.pid, signal.SIGKILL)  # also what it has left behind
        with suppress(ProcessLookupError):
            await child.wait()
    said = output.decode(errors="replace").strip()[-LONGEST_WHY:]
    return "" if child.returncode == 0 else f"{argv[0]} ended with code {child.returncode}: {said}"
