"""Every test here runs on the memory twin and on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.bus_rig import MemoryRig, Rig, server_rig


@pytest.fixture(params=["memory", "jetstream"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    if request.param == "memory":
        yield MemoryRig()
    else:
        async with server_rig(tmp_path) as real:
            yield real
