"""What the terminal shows: the steps of the start as they go on, and lines that say what happens later.

On a terminal the steps are one live table; elsewhere each step is a line when it is done. Nothing here fails because
nobody reads it any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from matrixinfer.bus.clock import Clock
from matrixinfer.up.outlet import Outlet

_SIGNS = {"ok": ("✓", "green"), "failed": ("✗", "red"), "stopped": ("■", "yellow")}


@dataclass
class Step:
    """One line of the start. `detail` changes while it goes on."""

    title: str
    detail: str = ""
    began_s: float = 0.0
    ended_s: float | None = None
    outcome: str = "ok"
    """Of a step that has ended: `ok`, `failed`, or `stopped` by a person or because another one failed."""

    def say(self, detail: str) -> None:
        self.detail = detail

    def progress(self, done: int, total: int, unit_bytes: int = 1024 * 1024) -> None:
        """How far a download is; a total of 0 is unknown."""
        megabytes = done / unit_bytes
        if total <= 0:
            self.detail = f"{megabytes:.0f} MiB"
            return
        filled = int(20 * min(1.0, done / total))
        bar = "━" * filled + "╌" * (20 - filled)
        self.detail = f"{bar} {megabytes:.0f} of {total / unit_bytes:.0f} MiB"

    def took_s(self, now: float) -> float:
        """So far, or in all."""
        return (self.ended_s if self.ended_s is not None else now) - self.began_s


class Display:
    """Use `step` as a context for each step, inside `starting`; `say` at any time."""

    def __init__(self, clock: Clock, console: Console | None = None) -> None:
        self._clock = clock
        self.console = console or Console(highlight=False)
        self.console.file = cast("IO[str]", Outlet(self.console.file))
        self._steps: list[Step] = []
        self._spinners: dict[int, Spinner] = {}

    @contextmanager
    def starting(self) -> Iterator[None]:
        """While this lasts, the steps are shown live, if somebody looks."""
        if not self.console.is_terminal:
            yield
            return
        with Live(get_renderable=self._render, console=self.console, refresh_per_second=10):
            yield

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """The step is done when the block ends, failed when it raises, and stopped when it is cancelled."""
        step = Step(title, began_s=self._clock.monotonic())
        self._steps.append(step)
        try:
            yield step
        except (asyncio.CancelledError, KeyboardInterrupt):
            step.outcome = "stopped"
            raise
        except BaseException:
            step.outcome = "failed"
            raise
        finally:
            step.ended_s = now = self._clock.monotonic()
            if not self.console.is_terminal:
                self.say(_line(step, now))

    def say(self, text: str, style: str = "") -> None:
        self.console.print(Text(text, style=style), soft_wrap=True)

    def print(self, renderable: RenderableType) -> None:
        self.console.print(renderable, soft_wrap=True)

    def _render(self) -> RenderableType:
        table, now = Table.grid(padding=(0, 2)), self._clock.monotonic()
        for step in self._steps:
            table.add_row(
                self._sign(step), step.title, Text(f"{step.took_s(now):.1f} s", "dim"), Text(step.detail, "dim")
            )
        return Group(Text("MatrixInfer starts", "bold"), table)

    def _sign(self, step: Step) -> RenderableType:
        if step.ended_s is None:
            return self._spinners.setdefault(id(step), Spinner("dots", style="cyan"))
        return Text(*_SIGNS[step.outcome])


def _line(step: Step, now: float) -> str:
    return f"{step.title:<14} {step.outcome:<7} {step.took_s(now):5.1f} s  {step.detail}".rstrip()
