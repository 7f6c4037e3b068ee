"""The tests' own house keeps its word: an end that is not clean fails the test that it was for."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from support.eventually import eventually
from support.house import House

INTERPRETER = sys.executable
ENDS_WITH_CODE = "import signal, sys; signal.signal(signal.SIGINT, lambda *_: sys.exit({code})); "
LEAVES_ONE = "import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True); "
SERVES = "print('curl', flush=True); signal.pause()"


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], House]:
    """`pretended(script)`: a house whose `up` is that script, and has no reaper."""
    monkeypatch.setattr("support.house.GONE_S", 0.5)

    def make(script: str) -> House:
        program = tmp_path / "up"
        program.write_text(f"#!{INTERPRETER}\n{script}")
        program.chmod(0o755)
        monkeypatch.setattr("support.house.sys.executable", str(program))
        return House(tmp_path / "data")

    return make


async def test_a_clean_end_passes_and_so_does_a_kill_by_the_test(pretended) -> None:
    async with pretended(ENDS_WITH_CODE.format(code=0) + SERVES):
        pass
    async with pretended(ENDS_WITH_CODE.format(code=0) + SERVES) as house:
        house.process.kill()


async def test_an_end_with_another_code_fails(pretended) -> None:
    with pytest.raises(AssertionError, match="up ended with code 3"):
        async with pretended(ENDS_WITH_CODE.format(code=3) + SERVES):
            pass


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
async def test_a_process_that_is_left_fails_and_is_ended(pretended, end: signal.Signals) -> None:
    house = await pretended(ENDS_WITH_CODE.format(code=0) + LEAVES_ONE + SERVES).__aenter__()
    [orphan] = [psutil.Process(pid) for pid in await eventually(lambda: house.pids("sleep"))]
    house.process.send_signal(end)
    house.process.wait(10)
    with pytest.raises(AssertionError, match=r"up has ended and left .*sleep"):
        await house.__aexit__(None, None, None)
    await eventually(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE)
