"""llama.cpp's server in a process of its own: its library may hold the interpreter's lock where it waits, and then no
timeout inside the process would end the test."""

from __future__ import annotations

import asyncio
import sys

import pytest

from support.smollm2 import smollm2

TIMES = 15
START_AND_CLOSE = f"""
import sys
from pathlib import Path
from matrixinfer.agents.engines.llamacpp.server import LlamaServer
from matrixinfer.agents.engines.llamacpp.settings import LlamaCppConfig
for _ in range({TIMES}):
    LlamaServer(LlamaCppConfig(), Path(sys.argv[1]), "tiny").close()
"""
PATIENCE_S = 90.0


@pytest.mark.real
@pytest.mark.timeout(300)  # the model may have to be fetched
async def test_a_server_that_is_closed_as_soon_as_it_has_started_ends() -> None:
    """Before the start waited for the server's loop, one of the first of them stood still for ever."""
    model_path = await smollm2()
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", START_AND_CLOSE, str(model_path))
    try:
        async with asyncio.timeout(PATIENCE_S):
            assert await child.wait() == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
