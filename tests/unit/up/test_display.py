"""What the terminal shows."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import shlex
from collections.abc import Callable

import pytest
from rich.console import Console

from matrixinfer.bus.clock import ManualClock, SystemClock
from matrixinfer.up.display import Display, Step
from matrixinfer.up.greeting import curl


@pytest.fixture
def screen() -> Callable[..., tuple[Display, io.StringIO]]:
    def make(terminal: bool) -> tuple[Display, io.StringIO]:
        output = io.StringIO()
        return Display(SystemClock(), Console(file=output, force_terminal=terminal, width=100, highlight=False)), output

    return make


@pytest.mark.parametrize("terminal", [False, True])
def test_steps_show_what_was_done_and_what_failed(screen, terminal: bool) -> None:
    display, output = screen(terminal)
    with display.starting():
        with display.step("bus") as step:
            step.say("127.0.0.1:4222")
        with pytest.raises(RuntimeError), display.step("engine"):
            raise RuntimeError
    text = output.getvalue()
    assert "bus" in text
    assert "127.0.0.1:4222" in text
    assert ("✗" if terminal else "failed") in text


@pytest.mark.parametrize("terminal", [False, True])
async def test_a_step_that_is_cancelled_was_stopped_and_has_not_failed(screen, terminal: bool) -> None:
    display, output = screen(terminal)

    async def fetch() -> None:
        with display.step("model weights"):
            await asyncio.Event().wait()

    with display.starting():
        task = asyncio.create_task(fetch())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert ("■" if terminal else "stopped") in output.getvalue()
    assert ("✗" if terminal else "failed") not in output.getvalue()


async def test_a_step_shows_how_long_it_took() -> None:
    output, clock = io.StringIO(), ManualClock()
    display = Display(clock, Console(file=output, width=100))
    with display.step("bus"):
        await clock.advance(2.5)
    await clock.advance(10)
    assert output.getvalue().split()[:4] == ["bus", "ok", "2.5", "s"]


def test_a_download_shows_how_far_it_is() -> None:
    step = Step("model weights")
    step.progress(49 * 1024 * 1024, 98 * 1024 * 1024)
    assert step.detail == "━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌ 49 of 98 MiB"
    step.progress(49 * 1024 * 1024, 0)
    assert step.detail == "49 MiB"


def test_the_line_to_paste_is_one_shell_command_with_json(screen) -> None:
    display, output = screen(False)
    display.say(curl("http://127.0.0.1:8080", "it's"))
    [line] = output.getvalue().splitlines()
    words = shlex.split(line)
    assert words[:3] == ["curl", "-N", "http://127.0.0.1:8080/v1/chat/completions"]
    assert json.loads(words[-1])["model"] == "it's"


@pytest.mark.parametrize("terminal", [False, True])
def test_it_goes_on_in_silence_when_nobody_reads_any_more(caplog, terminal: bool) -> None:
    caplog.set_level(logging.WARNING)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output:
        display = Display(SystemClock(), Console(file=output, force_terminal=terminal, width=100))
        with display.starting(), display.step("bus"):
            display.say("to nobody")
        display.print("nor this")
    assert len([record for record in caplog.records if record.name == "matrixinfer.up.outlet"]) == 1
