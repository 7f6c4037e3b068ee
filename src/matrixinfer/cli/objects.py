"""`apply`, `get`, `delete`: the objects of the platform, in the way of kubectl."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Annotated, Any

import typer

from matrixinfer.cli.clusters import Where, objects_of, on_a_cluster
from matrixinfer.cli.errors import CliError
from matrixinfer.cli.listing import Documents, Output, Printed, Rows, dumped
from matrixinfer.cli.manifest_files import joined, named_in, read_texts
from matrixinfer.cli.targets import kind_and_name

PANEL = "Objects"
Manifest = dict[str, Any]

NamespaceOption = Annotated[str, typer.Option("-n", "--namespace", help="Namespace of objects that name none.")]
FILES = typer.Option("-f", "--filename", metavar="FILE", help="File or folder with YAML, several times; - reads stdin.")
RecursiveOption = Annotated[bool, typer.Option("-R", "--recursive", help="With -f FOLDER: the folders below too.")]


def register(app: typer.Typer) -> None:
    for command in (apply, get, delete):
        app.command(rich_help_panel=PANEL)(command)


@on_a_cluster
def apply(
    *,
    where: Where,
    filename: Annotated[list[str], FILES],
    recursive: RecursiveOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would become of each, and do nothing.")] = False,
    namespace: NamespaceOption = "default",
) -> None:
    """Create or change objects as files describe them. Where one of them is wrong, nothing is applied.

    Example: matrixinfer apply -f examples/smollm2.yaml

    Example: matrixinfer apply -f models/ -R --dry-run
    """
    text = joined(read_texts(filename, recursive), namespace)
    asyncio.run(_apply(text, namespace, where, dry_run))


@on_a_cluster
def get(
    *,
    where: Where,
    kind: Annotated[
        str,
        typer.Argument(
            help="model, modelinfer, modelserver, modelroute, autoscalingpolicy, pod, …; short names and plurals too."
        ),
    ],
    name: Annotated[str | None, typer.Argument(help="Only this one.")] = None,
    namespace: NamespaceOption = "default",
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="Of every namespace.")] = False,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to print.")] = Output.TABLE,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Go on with what changes, until Ctrl-C.")] = False,
    output_watch_events: Annotated[
        bool, typer.Option("--output-watch-events", help="With -w and -o: say ADDED, MODIFIED or DELETED of each.")
    ] = False,
) -> None:
    """Show objects.

    Example: matrixinfer get pods -w

    Example: matrixinfer get model smollm2 -o yaml
    """
    from matrixinfer.bus.clock import SystemClock

    kind, name = kind_and_name(kind, name)
    wanted = "" if all_namespaces and name is None else namespace
    if watch:
        printed = Rows(all_namespaces) if output is Output.TABLE else Documents(output, output_watch_events)
        asyncio.run(_watch(kind, name, wanted, where, printed))
        return
    found = asyncio.run(_get(kind, name, wanted, where))
    if output is not Output.TABLE:
        typer.echo(dumped(found[0] if name is not None else {"kind": "List", "items": found}, output))
    elif found:
        Rows(all_namespaces).add(found, SystemClock().now())
    else:
        typer.echo("none found", err=True)


@on_a_cluster
def delete(
    *,
    where: Where,
    kind: Annotated[str | None, typer.Argument(help="Kind of the object.")] = None,
    name: Annotated[str | None, typer.Argument(help="Name of the object.")] = None,
    filename: Annotated[list[str] | None, FILES] = None,
    recursive: RecursiveOption = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is gone, with all that belongs to it.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.0, help="With --wait: seconds, at most.")] = 600.0,
    namespace: NamespaceOption = "default",
) -> None:
    """Delete an object, or all objects of files; what they own goes with them.

    Example: matrixinfer delete model smollm2 --wait

    Example: matrixinfer delete -f examples/smollm2.yaml
    """
    from matrixinfer.cli.deletion import deleted

    if kind is not None:
        kind, name = kind_and_name(kind, name)
    if filename and kind is None:
        targets = named_in(read_texts(filename, recursive), namespace)
    elif kind is not None and name is not None and not filename:
        targets = [(kind, namespace, name)]
    else:
        raise CliError("say what to delete: KIND and NAME, or -f FILE")
    if not asyncio.run(deleted(targets, where, timeout if wait else None)):
        raise typer.Exit(1)


async def _apply(text: str, namespace: str, where: Where, dry_run: bool) -> None:
    async with objects_of(where) as client:
        act = client.preview if dry_run else client.apply
        for applied in await act(text, namespace):
            typer.echo(f"{applied.kind.lower()}/{applied.name} {applied.outcome}{' (dry run)' if dry_run else ''}")


async def _get(kind: str, name: str | None, namespace: str, where: Where) -> list[Manifest]:
    async with objects_of(where) as client:
        if name is None:
            return await client.list(kind, namespace)
        found = await client.get(kind, namespace, name)
    if found is None:
        raise _absent(kind, name, namespace)
    return [found]


async def _watch(kind: str, name: str | None, namespace: str, where: Where, printed: Printed) -> None:
    """The list first, then each change as it comes; ended by Ctrl-C, or by a reader who left."""
    from matrixinfer.bus.clock import SystemClock

    clock = SystemClock()
    async with objects_of(where) as client, aclosing(client.watch(kind, namespace, name or "")) as sightings:
        is_first = True
        async for batch in sightings:
            if is_first and name is not None and not batch:
                raise _absent(kind, name, namespace)
            is_first = False
            for is_gone in (True, False):
                some = [one.manifest for one in batch if one.is_gone is is_gone]
                printed.add(some, clock.now(), is_gone=is_gone)


def _absent(kind: str, name: str, namespace: str) -> CliError:
    return CliError(f"there is no {kind} {name!r} in namespace {namespace!r}")
