"""`apply`, `get`, `delete`: the objects of the platform, in the way of kubectl."""

from __future__ import annotations

import asyncio
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from matrixinfer.cli.clusters import ContextOption, KubeconfigOption, Where, objects_of
from matrixinfer.cli.errors import CliError
from matrixinfer.cli.running import BusOption, DataOption

PANEL = "Objects"
Manifest = dict[str, Any]

FileOption = Annotated[
    str | None, typer.Option("-f", "--filename", metavar="FILE", help="YAML file with objects; - reads stdin.")
]
NamespaceOption = Annotated[str, typer.Option("-n", "--namespace", help="Namespace of objects that name none.")]


class Output(StrEnum):
    TABLE = "table"
    YAML = "yaml"
    JSON = "json"


def register(app: typer.Typer) -> None:
    for command in (apply, get, delete):
        app.command(rich_help_panel=PANEL)(command)


def apply(
    *,
    filename: Annotated[str, typer.Option("-f", "--filename", metavar="FILE", help="YAML file; - reads stdin.")],
    namespace: NamespaceOption = "default",
    bus: BusOption = None,
    data: DataOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Create or change objects as a file describes them.

    Example: matrixinfer apply -f examples/smollm2.yaml
    """
    asyncio.run(_apply(read_text(filename), namespace, Where(bus, data, kubeconfig, context)))


def get(
    *,
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
    bus: BusOption = None,
    data: DataOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Show objects.

    Example: matrixinfer get pods

    Example: matrixinfer get model smollm2 -o yaml
    """
    from matrixinfer.bus.clock import SystemClock

    found = asyncio.run(_get(kind, name, "" if all_namespaces else namespace, Where(bus, data, kubeconfig, context)))
    if output is Output.TABLE:
        _print_table(found, all_namespaces, SystemClock().now())
    else:
        typer.echo(_dump(found[0] if name is not None else {"kind": "List", "items": found}, output))


def delete(
    *,
    kind: Annotated[str | None, typer.Argument(help="Kind of the object.")] = None,
    name: Annotated[str | None, typer.Argument(help="Name of the object.")] = None,
    filename: FileOption = None,
    namespace: NamespaceOption = "default",
    bus: BusOption = None,
    data: DataOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Delete an object, or all objects of a file; what they own goes with them.

    Example: matrixinfer delete model smollm2

    Example: matrixinfer delete -f examples/smollm2.yaml
    """
    if filename is not None and kind is None:
        targets = _named_in(read_text(filename), namespace)
    elif kind is not None and name is not None and filename is None:
        targets = [(kind, namespace, name)]
    else:
        raise CliError("say what to delete: KIND and NAME, or -f FILE")
    if not asyncio.run(_delete(targets, Where(bus, data, kubeconfig, context))):
        raise typer.Exit(1)


async def _apply(text: str, namespace: str, where: Where) -> None:

    async with objects_of(where) as client:
        for applied in await client.apply(text, namespace):
            typer.echo(f"{applied.kind.lower()}/{applied.name} {applied.outcome}")


async def _get(kind: str, name: str | None, namespace: str, where: Where) -> list[Manifest]:

    async with objects_of(where) as client:
        if name is None:
            return await client.list(kind, namespace)
        found = await client.get(kind, namespace or "default", name)
    if found is None:
        raise CliError(f"there is no {kind} {name!r} in namespace {namespace or 'default'!r}")
    return [found]


async def _delete(targets: list[tuple[str, str, str]], where: Where) -> bool:

    everything = True
    async with objects_of(where) as client:
        for kind, namespace, name in targets:
            found = await client.delete(kind, namespace, name)
            typer.echo(f"{kind.lower()}/{name} {'deleted' if found else 'was not there'}", err=not found)
            everything = everything and found
    return everything


def read_text(filename: str) -> str:
    """The text of a file, or of stdin for `-`. Raises CliError for what is not text."""
    try:
        return sys.stdin.read() if filename == "-" else Path(filename).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CliError(
            f"{filename}: expected a manifest in UTF-8, met byte {error.object[error.start]:#04x}"
        ) from error


def _named_in(text: str, namespace: str) -> list[tuple[str, str, str]]:
    import yaml

    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
        return [
            (document["kind"], document["metadata"].get("namespace") or namespace, document["metadata"]["name"])
            for document in documents
        ]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise CliError(f"the file must hold YAML objects with kind and metadata.name: {error}") from error


def _dump(value: object, output: Output) -> str:
    if output is Output.JSON:
        import json

        return json.dumps(value, indent=2)
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False)).rstrip()


def _print_table(found: list[Manifest], with_namespace: bool, now: float) -> None:
    from rich.console import Console
    from rich.table import Table

    from matrixinfer.cli.tables import age, columns

    if not found:
        typer.echo("none found", err=True)
        return
    kind = found[0]["kind"]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in [*(["NAMESPACE"] if with_namespace else []), "NAME", *(name for name, _ in columns(kind)), "AGE"]:
        table.add_column(title, overflow="fold")
    for one in found:
        metadata = one["metadata"]
        cells = [metadata["name"], *(read(one) for _, read in columns(kind)), age(one, now)]
        table.add_row(*([metadata.get("namespace", "")] if with_namespace else []), *cells)
    console = Console(highlight=False, markup=False)
    console.print(table) if console.is_terminal else Console(width=250, highlight=False, markup=False).print(table)
