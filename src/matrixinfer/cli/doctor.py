"""`doctor`: looks at a running platform and says what is wrong and what to do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import typer

from matrixinfer.cli.running import BusOption, DataOption, UrlOption

SUBJECT_WIDTH = 12
"""Of the longest one, `dead letters`."""


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(url: UrlOption = None, bus: BusOption = None, data: DataOption = None) -> None:
    """Look at everything of a running platform, and say what is wrong and what to do.

    Ends with code 1 when something is wrong.
    """
    if not asyncio.run(_examine(url, bus, data)):
        raise typer.Exit(1)


async def _examine(url: str | None, bus_url: str | None, data: Path | None) -> bool:
    from rich.console import Console
    from rich.text import Text

    from matrixinfer.cli.checks import examine
    from matrixinfer.cli.findings import SIGNS
    from matrixinfer.cli.running import running

    console = Console(highlight=False)
    healthy = True
    async for finding in examine(running(data), url, bus_url):
        sign, style = SIGNS[finding.verdict]
        console.print(
            Text.assemble((f"{sign} ", style), (f"{finding.subject:<{SUBJECT_WIDTH}} ", "bold"), finding.text),
            soft_wrap=True,
        )
        if finding.advice:
            console.print(Text(f"{'':<{SUBJECT_WIDTH + 3}}→ {finding.advice}", "yellow"), soft_wrap=True)
        healthy = healthy and finding.verdict != "wrong"
    return healthy
