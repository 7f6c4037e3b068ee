"""The command line as people use it: as a process, with what it prints."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator

LINE_S = 20.0


class Commands:
    """`flags` say which platform, and come last."""

    def __init__(self, *flags: str) -> None:
        self._flags = flags

    async def __call__(self, *words: str, code: int = 0, stdin: str = "") -> str:
        """What it printed, errors too."""
        process = await self.started(*words)
        output, _ = await process.communicate(stdin.encode())
        assert process.returncode == code, output.decode()
        return output.decode()

    @contextlib.asynccontextmanager
    async def watching(self, *words: str) -> AsyncIterator[Lines]:
        """A command that goes on until Ctrl-C, which it must take without complaint."""
        process = await self.started(*words)
        assert process.stdout is not None
        lines = Lines(process.stdout)
        try:
            yield lines
            process.send_signal(signal.SIGINT)
            rest, _ = await process.communicate()
            assert process.returncode == 130, rest.decode()
            complaints = ("Traceback", "error", "Exception", "Task was destroyed")
            assert not any(line.startswith(complaints) for line in rest.decode().splitlines()), rest.decode()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def started(self, *words: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "matrixinfer", *words, *self._flags),
            stdin=pipe,
            stdout=pipe,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=_hears_ctrl_c,
        )


def _hears_ctrl_c() -> None:
    """Tests that run in the background of a shell were told to ignore it, and so were their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Lines:
    def __init__(self, output: asyncio.StreamReader) -> None:
        self._output = output

    async def until(self, *words: str) -> str:
        """The next line that has all of these words, alone or as parts."""
        read: list[str] = []
        try:
            async with asyncio.timeout(LINE_S):
                while True:
                    line = (await self._output.readline()).decode()
                    assert line, f"ended before {words}: {read}"
                    read.append(line)
                    if all(word in line for word in words):
                        return line
        except TimeoutError as error:
            raise AssertionError(f"no line with {words}: {read}") from error
