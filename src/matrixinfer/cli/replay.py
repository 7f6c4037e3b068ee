"""`replay`: what another profile would have decided about the requests of the last hour."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matrixinfer.cli.errors import CliError
from matrixinfer.cli.explain import Output
from matrixinfer.cli.running import BusOption, DataOption, connected

if TYPE_CHECKING:
    from matrixinfer.bus.contracts.decision import DecisionBatch
    from matrixinfer.handlers.dispatch.scheduling.runtime import ProfileScheduler

UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}

ProfileOption = Annotated[
    Path, typer.Option("--profile", metavar="FILE", help="YAML: name, filters, scorers, picker. {} is the default's.")
]
SinceOption = Annotated[str, typer.Option("--since", metavar="TIME", help="How far back: 30s, 15m, 1h.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first N decisions.")]
ServerOption = Annotated[
    str | None, typer.Option("--modelserver", metavar="[NAMESPACE/]NAME", help="Whose; needed where there are several.")
]


def register(app: typer.Typer) -> None:
    app.command()(replay)


def replay(
    *,
    profile: ProfileOption,
    since: SinceOption = "1h",
    limit: LimitOption = None,
    modelserver: ServerOption = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to print.")] = Output.TABLE,
    bus: BusOption = None,
    data: DataOption = None,
) -> None:
    """Decide the recorded requests again with another profile, and tell what would have changed.

    Each decision is taken in the situation that was recorded: what would have followed is the simulator's to say.

    Example: matrixinfer replay --profile other.yaml --since 15m
    """
    from random import Random

    from matrixinfer.cli.replay_table import as_json, report
    from matrixinfer.handlers.dispatch.hindsight.replay import Replay

    scheduler, span_s = _compiled(profile), seconds(since)
    batches = one_pool(asyncio.run(_batches(span_s, bus, data)), modelserver)
    again = Replay(scheduler, Random(0))
    decisions = sorted(
        [(decision, batch.sights) for batch in batches for decision in batch.decisions], key=lambda each: each[0].at
    )
    for decision, sights in decisions[:limit]:
        again.decide(decision, sights)
    pool = f"{batches[0].namespace}/{batches[0].modelserver}"
    if output is Output.JSON:
        typer.echo(as_json(again.changes, pool, scheduler.name))
        return
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for part in report(again.changes, pool, scheduler.name):
        console.print(part, soft_wrap=isinstance(part, str))


def seconds(text: str) -> float:
    """`90s`, `15m`, `1h`. Raises CliError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if found is None or float(found[1]) == 0:
        raise CliError(f"--since: expected a time such as 30s, 15m or 1h, got {text!r}")
    return float(found[1]) * UNITS_S[found[2]]


def one_pool(batches: list[DecisionBatch], wanted: str | None) -> list[DecisionBatch]:
    """Those of the wanted pool, or of the only one that there is. Raises CliError when that is none, or not clear."""
    by_pool: dict[str, list[DecisionBatch]] = {}
    for batch in batches:
        if batch.decisions:
            by_pool.setdefault(f"{batch.namespace}/{batch.modelserver}", []).append(batch)
    if not by_pool:
        raise CliError("no decisions are recorded for that time: send some requests, or look further back with --since")
    if wanted is None and len(by_pool) == 1:
        return next(iter(by_pool.values()))
    name = wanted if wanted is None or "/" in wanted else f"default/{wanted}"
    if name not in by_pool:
        what = "there are several pools" if wanted is None else f"there are no decisions of {name}"
        raise CliError(f"{what}; say --modelserver with one of: {', '.join(sorted(by_pool))}")
    return by_pool[name]


def _compiled(path: Path) -> ProfileScheduler:
    """Raises CliError, naming the field that is wrong."""
    from matrixinfer.cli.objects import read_text
    from matrixinfer.cli.profile_file import parse_profile
    from matrixinfer.handlers.dispatch.errors import BadProfile
    from matrixinfer.handlers.dispatch.scheduling.profile import compile_profile
    from matrixinfer.handlers.dispatch.scheduling.registry import installed
    from matrixinfer.handlers.dispatch.scheduling.runtime import Surroundings

    def warn(sentence: str) -> None:
        typer.echo(f"warning: {sentence}", err=True)

    try:
        profile = parse_profile(read_text(str(path)), str(path))
        return compile_profile(profile, installed(), Surroundings(lambda: 0.0, warn))
    except BadProfile as error:
        raise CliError(f"{path}: {error}") from error


async def _batches(span_s: float, bus_url: str | None, data: Path | None) -> list[DecisionBatch]:
    from matrixinfer.bus.contracts import decode
    from matrixinfer.bus.contracts.decision import DecisionBatch
    from matrixinfer.cli.decision_records import read

    batches: list[DecisionBatch] = []
    async with connected(bus_url, data) as bus:
        await read(bus, bus.clock.now() - span_s, lambda encoded: batches.append(decode(encoded, DecisionBatch)))
    return batches
