"""The platform's end, when its bus does not end."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from rich.console import Console

from matrixinfer.bus.clock import SystemClock
from matrixinfer.up import house as house_module
from matrixinfer.up.display import Display
from matrixinfer.up.house import House
from matrixinfer.up.manifests import choose
from matrixinfer.up.options import Options
from matrixinfer.up.parts import Ports


class Hanging:
    """A server whose stop takes for ever."""

    def __init__(self, pid: int | None) -> None:
        self.pid = pid

    async def stop(self) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("pid", [None, 0, 4_000_000])
async def test_only_a_server_that_runs_is_killed_never_our_own_group(pid, monkeypatch, tmp_path: Path) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *arguments: killed.append(arguments))
    monkeypatch.setattr(house_module, "SERVER_STOP_S", 0.01)
    options = Options(tmp_path, choose(None, "simulated", None))
    house = House(options, Ports(1), Display(SystemClock(), Console(quiet=True)), SystemClock(), on_bus=lambda _: None)
    monkeypatch.setattr(house, "_server", Hanging(pid))
    await house.stop()
    house.kill()
    assert killed == ([(pid, signal.SIGKILL)] * 2 if pid else [])
