"""`explain`: why a request went where it went, and what came of it."""

from __future__ import annotations

import asyncio
import uuid
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matrixinfer.cli.errors import CliError
from matrixinfer.cli.running import BusOption, DataOption, connected

if TYPE_CHECKING:
    from matrixinfer.bus.bus import Bus
    from matrixinfer.bus.contracts.decision import DecisionBatch
    from matrixinfer.handlers.dispatch.hindsight.story import Story

PREFIXES = ("chatcmpl-", "cmpl-")
_SLACK_S = 5.0
"""Two machines' clocks differ by less."""
_FRESH_S = 4.0
"""Records come a second or two late: of so young a request they are waited for."""
_AGAIN_AFTER_S = 0.5
_VERSION, _TIME_SHIFT = 7, 80
"""Of a UUID that begins with the time in milliseconds (RFC 9562, section 5.7)."""


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


def register(app: typer.Typer) -> None:
    app.command()(explain)


def explain(
    *,
    request_id: Annotated[str, typer.Argument(help="As in the header x-request-id, or the answer's id (chatcmpl-…).")],
    output: Annotated[Output, typer.Option("-o", "--output", help="How to print.")] = Output.TABLE,
    bus: BusOption = None,
    data: DataOption = None,
) -> None:
    """Tell where a request of the last hour went, why, and what came of it.

    Example: matrixinfer explain chatcmpl-019ac2b4-6f1e-7c11-8b6e-0d9a3f1c2e4d
    """
    rid = bare_id(request_id)
    story = asyncio.run(_story(rid, bus, data))
    if output is Output.JSON:
        from matrixinfer.cli.explanation import as_json

        typer.echo(as_json(story))
        return
    from rich.console import Console

    from matrixinfer.cli.explanation import WIDTH, explanation

    console = Console(highlight=False, markup=False)
    console.width = max(console.width, WIDTH)
    for part in explanation(story):
        console.print(part, soft_wrap=isinstance(part, str))


def bare_id(text: str) -> str:
    """The request id in what a client was given. Raises CliError for anything else."""
    for prefix in PREFIXES:
        text = text.removeprefix(prefix)
    try:
        found = uuid.UUID(text)
    except ValueError:
        found = None
    if found is None or found.version != _VERSION:
        raise CliError(f"{text!r} is no request id: expected the x-request-id of an answer, or its id (chatcmpl-…)")
    return str(found)


def stored_at(rid: str) -> float:
    """When the gateway made the id, in unix seconds."""
    return (uuid.UUID(rid).int >> _TIME_SHIFT) / 1000.0


async def _story(rid: str, bus_url: str | None, data: Path | None) -> Story:
    from matrixinfer.cli.decision_records import kept_s

    async with connected(bus_url, data) as bus:
        age_s = bus.clock.now() - stored_at(rid)
        if age_s > kept_s():
            raise CliError(
                f"{rid} is {age_s / 3600:.1f} h old: records of decisions are kept for {kept_s() / 3600:g} h"
            )
        story = await _read(bus, rid)
        while not story.has_ended() and bus.clock.now() - stored_at(rid) < _FRESH_S:
            await bus.clock.sleep(_AGAIN_AFTER_S)
            story = await _read(bus, rid)
    if story.is_empty():
        raise CliError(
            f"there is no record of {rid}: it may still wait in the queue; or a gateway refused it before it was "
            "queued; or it was another platform's; or the stream was full and let its oldest records go"
        )
    return story


async def _read(bus: Bus, rid: str) -> Story:
    from matrixinfer.bus.contracts import decode
    from matrixinfer.bus.contracts.decision import DecisionBatch
    from matrixinfer.cli.decision_records import read
    from matrixinfer.handlers.dispatch.hindsight.story import story_of

    batches: list[DecisionBatch] = []

    def take(data: bytes) -> None:
        if rid.encode() in data:
            batches.append(decode(data, DecisionBatch))

    await read(bus, stored_at(rid) - _SLACK_S, take)
    return story_of(rid, batches)
