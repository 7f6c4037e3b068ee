"""`describe`: all that a person wants to know of one object."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from matrixinfer.cli.clusters import Where, objects_of, on_a_cluster
from matrixinfer.cli.errors import CliError
from matrixinfer.cli.objects import PANEL, NamespaceOption
from matrixinfer.cli.targets import kind_and_name


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=PANEL)(describe)


@on_a_cluster
def describe(
    *,
    where: Where,
    kind: Annotated[
        str,
        typer.Argument(help="model, modelinfer, modelserver, modelroute, autoscalingpolicy, pod, …; short names too."),
    ],
    name: Annotated[str | None, typer.Argument(help="Its name; also as KIND/NAME.")] = None,
    namespace: NamespaceOption = "default",
) -> None:
    """Show an object with its conditions, what belongs to it, and what happened to all of these.

    Example: matrixinfer describe model smollm2
    """
    kind, name = kind_and_name(kind, name)
    if name is None:
        raise CliError(f"say which {kind}: its name; `matrixinfer get {kind}` lists them")
    typer.echo(asyncio.run(_describe(kind, name, namespace, where)))


async def _describe(kind: str, name: str, namespace: str, where: Where) -> str:
    from matrixinfer.bus.clock import SystemClock
    from matrixinfer.cli.description import described
    from matrixinfer.cli.family import possible_family

    async with objects_of(where) as client:
        manifest = await client.get(kind, namespace, name)
        if manifest is None:
            raise CliError(f"there is no {kind} {name!r} in namespace {namespace!r}")
        family = await possible_family(client, namespace)
        events = await client.list("Event", namespace)
        return described(manifest, family, events, SystemClock().now())
