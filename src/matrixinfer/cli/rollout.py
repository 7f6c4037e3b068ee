"""`rollout`: how far a new template is, holding it, letting it go on, what there was, and the way back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Annotated, Any

import typer

from matrixinfer.cli.clusters import Objects, Where, objects_of, on_a_cluster
from matrixinfer.cli.errors import CliError
from matrixinfer.cli.objects import PANEL, NamespaceOption
from matrixinfer.cli.targets import Target, TargetArgument, apply, check_free, found, infers_of, owner_of, read_target

Manifest = dict[str, Any]
MODELINFER, REVISION = "matrixinfer.ai/modelinfer", "matrixinfer.ai/revision"

commands = typer.Typer(
    no_args_is_help=True, help="Follow, hold and take back changes of a template.", rich_markup_mode="rich"
)


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="rollout", rich_help_panel=PANEL)


@commands.command()
@on_a_cluster
def status(
    *,
    where: Where,
    target: TargetArgument,
    timeout: Annotated[float, typer.Option("--timeout", min=0.0, help="Seconds to wait; 0: only look.")] = 600.0,
    namespace: NamespaceOption = "default",
) -> None:
    """Wait until everything is of the present template and ready, and say how far it is meanwhile.

    Ends with code 1 when it is not within the time, or will not be: it is paused, or something fails again and again.

    Example: matrixinfer rollout status model/smollm2 --timeout 60
    """
    if not asyncio.run(_status(read_target(target), timeout, namespace, where)):
        raise typer.Exit(1)


@commands.command()
@on_a_cluster
def pause(
    *,
    where: Where,
    target: TargetArgument,
    namespace: NamespaceOption = "default",
) -> None:
    """Replace nothing more until `resume`. Scaling goes on.

    Example: matrixinfer rollout pause modelinfer/split
    """
    asyncio.run(_hold(read_target(target), True, namespace, where))


@commands.command()
@on_a_cluster
def resume(
    *,
    where: Where,
    target: TargetArgument,
    namespace: NamespaceOption = "default",
) -> None:
    """Go on with a rollout that was paused.

    Example: matrixinfer rollout resume modelinfer/split
    """
    asyncio.run(_hold(read_target(target), False, namespace, where))


@commands.command()
@on_a_cluster
def history(
    *,
    where: Where,
    target: TargetArgument,
    namespace: NamespaceOption = "default",
) -> None:
    """List the templates that are kept, the newest last.

    Example: matrixinfer rollout history modelinfer/split
    """
    asyncio.run(_history(read_target(target), namespace, where))


@commands.command()
@on_a_cluster
def undo(
    *,
    where: Where,
    target: TargetArgument,
    to: Annotated[
        int | None, typer.Option("--to-revision", min=1, help="A number of `history`; else the one before.")
    ] = None,
    namespace: NamespaceOption = "default",
) -> None:
    """Make a former template of a ModelInfer the present one; how many replicas its roles have stays.

    Example: matrixinfer rollout undo modelinfer/split --to-revision 2
    """
    asyncio.run(_undo(read_target(target), to, namespace, where))


# -- status
async def _status(target: Target, timeout_s: float, namespace: str, where: Where) -> bool:
    told = ""
    try:
        async with (
            asyncio.timeout(timeout_s or None),
            objects_of(where) as client,
            aclosing(_changing(client, target, namespace)) as looks,
        ):
            async for infers in looks:
                progress = [progress_of(infer) for infer in infers]
                sentence = "; ".join(text for _, text in progress) or f"{target} has no pods to make yet"
                if sentence != told:
                    typer.echo(sentence)
                    told = sentence
                states = {state for state, _ in progress}
                if states == {"done"} or "stuck" in states or not timeout_s:
                    return states == {"done"}
    except TimeoutError:
        return False
    raise CliError(f"{target} is followed no more: the watch ended; try again")


async def _changing(client: Objects, target: Target, namespace: str) -> AsyncGenerator[list[Manifest], None]:
    """The ModelInfer itself, or all of a Model, by name: as they are, and after each change. Raises CliError when the
    target is not there, or goes."""
    uid = (await found(client, target, namespace))["metadata"]["uid"]
    infers: dict[str, Manifest] = {}
    name = target.name if target.kind == "ModelInfer" else ""
    async with aclosing(client.watch("ModelInfer", namespace, name)) as sightings:
        async for batch in sightings:
            for manifest, is_gone in batch:
                if uid in (manifest["metadata"]["uid"], owner_of(manifest).get("uid")):
                    infers[manifest["metadata"]["name"]] = manifest
                    if is_gone:
                        del infers[manifest["metadata"]["name"]]
                        await found(client, target, namespace)
            yield [infers[name] for name in sorted(infers)]


def progress_of(infer: Manifest) -> tuple[str, str]:
    """`done`, `going` or `stuck`, and a sentence."""
    name, spec, status = infer["metadata"]["name"], infer["spec"], infer.get("status", {})
    replicas = spec.get("replicas", 1)
    updated, available = (status.get(field, 0) for field in ("updatedReplicas", "availableReplicas"))
    conditions = {one["type"]: one for one in status.get("conditions", [])}
    degraded, updating = conditions.get("Degraded", {}), conditions.get("UpdateInProgress", {})
    counts = f"{updated} of {replicas} groups up to date, {available} ready"
    if status.get("observedGeneration", 0) < infer["metadata"].get("generation", 0):
        return "going", f"{name}: the change has not been looked at yet"
    if degraded.get("status") == "True":
        return "stuck", f"{name}: {counts}; {degraded['message']}"
    if updating.get("reason") == "Paused":
        return "stuck", f"{name}: {counts}; {updating['message']}"
    progressing = conditions.get("Progressing", {})
    if updating.get("status") != "True" and available >= replicas and progressing.get("reason") == "Complete":
        return "done", f"{name}: {counts}"
    return "going", f"{name}: {counts}; {progressing.get('message', 'starting')}"


# -- pause and resume
async def _hold(target: Target, paused: bool, namespace: str, where: Where) -> None:
    word = "paused" if paused else "resumed"

    async def change(manifest: Manifest) -> Manifest:
        if target.kind == "Model":
            backends = [held(backend, paused) for backend in manifest["spec"]["backends"]]
            return manifest | {"spec": manifest["spec"] | {"backends": backends}}
        check_free(manifest, f"`matrixinfer rollout {'pause' if paused else 'resume'} model/NAME` does it for both")
        return manifest | {"spec": held(manifest["spec"], paused)}

    outcome = await _changed(target, change, namespace, where)
    typer.echo(f"{target} {word if outcome == 'configured' else f'was {word} already'}")


def held(part: Manifest, paused: bool) -> Manifest:
    """The spec of a ModelInfer, or a backend."""
    return part | {"rolloutStrategy": part.get("rolloutStrategy", {}) | {"paused": paused}}


async def _changed(
    target: Target,
    change: Callable[[Manifest], Awaitable[Manifest]],
    namespace: str,
    where: Where,
) -> str:

    async with objects_of(where) as client:
        return await apply(client, await change(await found(client, target, namespace)), namespace)


# -- history and undo
async def _history(target: Target, namespace: str, where: Where) -> None:
    from rich.console import Console
    from rich.table import Table

    from matrixinfer.bus.clock import SystemClock
    from matrixinfer.cli.tables import age

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("MODELINFER", "REVISION", "TEMPLATE", "", "AGE"):
        table.add_column(title)
    async with objects_of(where) as client:
        for infer in await infers_of(client, target, namespace):
            for record in await _records(client, infer, namespace):
                revision = record["metadata"]["labels"][REVISION]
                cells = [infer["metadata"]["name"], str(record["revision"]), revision, standing(infer, revision)]
                table.add_row(*cells, age(record, SystemClock().now()))
    Console(highlight=False, markup=False).print(table)


def standing(infer: Manifest, revision: str) -> str:
    """What the template is to the object now."""
    status = infer.get("status", {})
    current, update = status.get("currentRevision"), status.get("updateRevision")
    if revision == update:
        return "present" if current == update else "being rolled out"
    return "being replaced" if revision == current else ""


async def _records(client: Objects, infer: Manifest, namespace: str) -> list[Manifest]:
    """Of the templates, the newest last."""
    mark = {MODELINFER: infer["metadata"]["name"]}
    records: list[Manifest] = await client.list("ControllerRevision", namespace, mark)
    return sorted(records, key=lambda record: int(record["revision"]))


async def _undo(target: Target, to: int | None, namespace: str, where: Where) -> None:

    if target.kind != "ModelInfer":
        raise CliError(f"{target}: apply the model's former manifest; only a ModelInfer of its own keeps templates")
    async with objects_of(where) as client:
        infer = await found(client, target, namespace)
        check_free(infer, "apply its former manifest instead")
        record = chosen(await _records(client, infer, namespace), to, target)
        outcome = await apply(client, undone(infer, record), namespace)
    typer.echo(f"{target} {'rolled back' if outcome == 'configured' else outcome} to revision {record['revision']}")


def chosen(records: list[Manifest], to: int | None, target: Target) -> Manifest:
    """The one with that number, or the last but one. Raises CliError that says what there is."""
    numbers = [int(record["revision"]) for record in records]
    if to is None and len(records) < 2:
        raise CliError(f"{target} has had no other template")
    if to is not None and to not in numbers:
        kept = ", ".join(str(number) for number in numbers) or "none"
        raise CliError(f"{target} has no revision {to}; kept are {kept}")
    return records[-2] if to is None else records[numbers.index(to)]


OF_THE_TEMPLATE = ("plugins", "schedulerName", "topologySpreadConstraints")
"""Fields of a spec that are kept with its template."""
OF_THE_GROUP = ("gangPolicy", "restartGracePeriodSeconds")
"""Fields of a template that are none of its content, like replicas."""


def undone(infer: Manifest, record: Manifest) -> Manifest:
    """Roles that are there now keep their replicas: scaling is no part of a template."""
    kept, spec = record["data"], infer["spec"]
    now = {role["name"]: role.get("replicas", 1) for role in spec["template"]["roles"]}
    roles = [role | {"replicas": now.get(role["name"], role.get("replicas", 1))} for role in kept["template"]["roles"]]
    group = {name: spec["template"][name] for name in OF_THE_GROUP if name in spec["template"]}
    former = {name: value for name, value in kept.items() if name in OF_THE_TEMPLATE}
    rest = {name: value for name, value in spec.items() if name not in OF_THE_TEMPLATE}
    return infer | {"spec": rest | former | {"template": kept["template"] | group | {"roles": roles}}}
