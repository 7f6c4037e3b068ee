"""The whole platform as its users start it: `matrixinfer up` as a child process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import psutil

from matrixinfer.bus.server.record import free_port
from support.eventually import eventually

START_S = 45.0
STOP_S = 10.0
"""What `up` promises."""
GONE_S = 5.0
"""Until the reaper has noticed that `up` is gone, and has ended what was left."""


class House:
    """`async with House(data_dir, "--engine", "simulated") as house:` serves at `house.url` until the block ends. Then
    `up` has to end well, unless the block itself killed it, and no process of the house may be left."""

    def __init__(self, data_dir: Path, *arguments: str, start_s: float = START_S) -> None:
        self.data_dir = data_dir
        self.arguments = arguments
        self.start_s = start_s
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return (self.data_dir / "up.out").read_text()

    async def __aenter__(self) -> House:
        self._start()
        try:
            await eventually(self._serves, timeout_s=self.start_s)
        except BaseException:
            self.process.kill()
            raise
        return self

    def _start(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "matrixinfer", "up", "--port", str(self.port), "--data", str(self.data_dir)]
        environment = os.environ | {"MATRIXINFER_TEST_HOUSE": str(self.data_dir)}
        with (self.data_dir / "up.out").open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *self.arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
            )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        try:
            code = await asyncio.to_thread(self.process.wait, STOP_S)
            assert code in (0, -signal.SIGKILL), f"up ended with code {code}:\n{self.output}"
            await self._all_gone()
        finally:
            for process in self.members():
                process.kill()

    async def _all_gone(self) -> None:
        try:
            await eventually(lambda: not self.members(), timeout_s=GONE_S)
        except AssertionError as error:
            raise AssertionError(f"up has ended and left {self.members()}") from error

    async def _serves(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"up ended with {self.process.returncode}:\n{self.output}")
        return "curl" in self.output

    def record(self) -> dict[str, Any]:
        """What `up` wrote about itself for other commands."""
        loaded: dict[str, Any] = json.loads((self.data_dir / "up.json").read_text())
        return loaded

    def members(self) -> list[psutil.Process]:
        """Every process that belongs to this platform, `up` itself included."""
        assert self.process is not None
        try:
            root = psutil.Process(self.process.pid)
            marked = {child.pid: child for child in [root, *root.children(recursive=True)]}
        except psutil.NoSuchProcess:
            marked = {}
        for process in psutil.process_iter():
            if process.pid not in marked and _lives_in(process, self.data_dir):
                marked[process.pid] = process
        return list(marked.values())

    def pids(self, *words: str) -> list[int]:
        """The processes whose command line holds all of `words`, e.g. `pids("matrixinfer", "agent")`."""
        found = []
        for process in self.members():
            try:
                line = process.cmdline()
            except psutil.Error:
                continue
            if all(any(part == word or part.endswith("/" + word) for part in line) for word in words):
                found.append(process.pid)
        return found

    def kill(self, pid: int) -> None:
        assert pid in {process.pid for process in self.members()}, "only processes of this platform may be killed"
        os.kill(pid, signal.SIGKILL)

    async def models(self) -> list[str]:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{self.url}/v1/models")
            return [model["id"] for model in answer.json()["data"]]


def _lives_in(process: psutil.Process, data_dir: Path) -> bool:
    try:
        return process.environ().get("MATRIXINFER_TEST_HOUSE") == str(data_dir)
    except psutil.Error:
        return False
