"""`replay`: what another profile would have decided about the requests of the last hour."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matrixinfer.cli.errors import CliError
from matrixinfer.cli.explain import Output
from matrixinfer.cli.running import BusOption, DataOption, connected

if TYPE_CHECKING:
    from matrixinfer.bus.contracts.decision import DecisionBatch
    from matrixinfer.handlers.dispatch.hindsight.replay import Changes, Replay
    from matrixinfer.handlers.dispatch.scheduling.runtime import ProfileScheduler

UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}

ProfileOption = Annotated[
    Path, typer.Option("--profile", metavar="FILE", help="YAML: name, filters, scorers, picker. {} is the default's.")
]
SinceOption = Annotated[str, typer.Option("--since", metavar="TIME", help="How far back: 30s, 15m, 1h.")]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first N decisions of a pool.")
]
ServerOption = Annotated[str | None, typer.Option("--modelserver", metavar="[NAMESPACE/]NAME", help="Only this one's.")]


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
    from matrixinfer.cli.replay_table import as_json, report

    new_scheduler, span_s = _compiled(profile), seconds(since)
    replays = Replays(new_scheduler, modelserver, limit)
    asyncio.run(_read(span_s, replays.take, bus, data))
    changes, name = replays.changes(), new_scheduler().name
    if output is Output.JSON:
        typer.echo(as_json(changes, name))
        return
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for pool, of_pool in changes.items():
        for part in report(of_pool, pool, name):
            console.print(part, soft_wrap=isinstance(part, str))


class Replays:
    """One for each pool, fed by batches as they are read: an hour of records does not fit into memory."""

    def __init__(self, new_scheduler: Callable[[], ProfileScheduler], wanted: str | None, limit: int | None) -> None:
        self._new_scheduler = new_scheduler
        self._wanted = wanted if wanted is None or "/" in wanted else f"default/{wanted}"
        self._limit = limit
        self._pools: dict[str, Replay] = {}

    def take(self, batch: DecisionBatch) -> None:
        from random import Random

        from matrixinfer.handlers.dispatch.hindsight.replay import Replay

        pool = f"{batch.namespace}/{batch.modelserver}"
        if not batch.decisions:
            return
        again = self._pools.get(pool)
        if again is None:
            again = self._pools[pool] = Replay(self._new_scheduler(), Random(0))
        if self._wanted in (None, pool):
            for decision in batch.decisions:
                if self._limit is None or again.changes.decisions < self._limit:
                    again.decide(decision, batch.sights)

    def changes(self) -> dict[str, Changes]:
        """By pool. Raises CliError when there is nothing to show."""
        if not self._pools:
            raise CliError(
                "no decisions are recorded for that time: send some requests, or look further back with --since"
            )
        if self._wanted is not None and self._wanted not in self._pools:
            known = ", ".join(sorted(self._pools))
            raise CliError(f"no decisions of {self._wanted} are recorded for that time; there are some of: {known}")
        shown = [self._wanted] if self._wanted is not None else sorted(self._pools)
        return {pool: self._pools[pool].changes for pool in shown}


def seconds(text: str) -> float:
    """`90s`, `15m`, `1h`. Raises CliError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if found is None or float(found[1]) == 0:
        raise CliError(f"--since: expected a time such as 30s, 15m or 1h, got {text!r}")
    return float(found[1]) * UNITS_S[found[2]]


def _compiled(path: Path) -> Callable[[], ProfileScheduler]:
    """Makes schedulers of the file's profile. Raises CliError, naming the field that is wrong."""
    from matrixinfer.cli.manifest_files import read_text
    from matrixinfer.cli.profile_file import parse_profile
    from matrixinfer.handlers.dispatch.errors import BadProfile
    from matrixinfer.handlers.dispatch.scheduling.profile import compile_profile
    from matrixinfer.handlers.dispatch.scheduling.registry import installed
    from matrixinfer.handlers.dispatch.scheduling.runtime import Surroundings

    def warn(sentence: str) -> None:
        typer.echo(f"warning: {sentence}", err=True)

    surroundings = Surroundings(lambda: 0.0, warn)
    try:
        profile, plugins = parse_profile(read_text(str(path)), str(path)), installed()
        compile_profile(profile, plugins, surroundings)
    except BadProfile as error:
        raise CliError(f"{path}: {error}") from error
    return lambda: compile_profile(profile, plugins, surroundings)


async def _read(span_s: float, take: Callable[[DecisionBatch], None], bus_url: str | None, data: Path | None) -> None:
    from matrixinfer.bus.contracts import decode
    from matrixinfer.bus.contracts.decision import DecisionBatch
    from matrixinfer.cli.decision_records import read

    async with connected(bus_url, data) as bus:
        await read(bus, bus.clock.now() - span_s, lambda encoded: take(decode(encoded, DecisionBatch)))
