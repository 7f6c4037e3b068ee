"""`describe`: all that a person wants to know of one object."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from matrixinfer.cli.clusters import ContextOption, KubeconfigOption, Where, objects_of
from matrixinfer.cli.errors import CliError
from matrixinfer.cli.objects import PANEL, NamespaceOption
from matrixinfer.cli.running import BusOption, DataOption


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=PANEL)(describe)


def describe(
    *,
    kind: Annotated[
        str,
        typer.Argument(help="model, modelinfer, modelserver, modelroute, autoscalingpolicy, pod, …; short names too."),
    ],
    name: Annotated[str, typer.Argument(help="Its name.")],
    namespace: NamespaceOption = "default",
    bus: BusOption = None,
    data: DataOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Show an object with its conditions, what belongs to it, and what happened to all of these.

    Example: matrixinfer describe model smollm2
    """
    typer.echo(asyncio.run(_describe(kind, name, namespace, Where(bus, data, kubeconfig, context))))


async def _describe(kind: str, name: str, namespace: str, where: Where) -> str:
    from matrixinfer.bus.clock import SystemClock
    from matrixinfer.cli.description import CHILDREN, described

    async with objects_of(where) as client:
        manifest = await client.get(kind, namespace, name)
        if manifest is None:
            raise CliError(f"there is no {kind} {name!r} in namespace {namespace!r}")
        family: list[dict[str, Any]] = [one for each in CHILDREN for one in await client.list(each, namespace)]
        events = await client.list("Event", namespace)
        return described(manifest, family, events, SystemClock().now())
