"""`scale`: how many groups, or instances of a role, there shall be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import typer

from matrixinfer.cli.clusters import Where, objects_of, on_a_cluster
from matrixinfer.cli.errors import CliError
from matrixinfer.cli.objects import PANEL, NamespaceOption
from matrixinfer.cli.targets import Target, TargetArgument, apply, check_free, found, read_target

Manifest = dict[str, Any]


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=PANEL)(scale)


@on_a_cluster
def scale(
    *,
    where: Where,
    target: TargetArgument,
    replicas: Annotated[int, typer.Option("--replicas", min=0, help="How many there shall be.")],
    role: Annotated[str | None, typer.Option("--role", help="Of a ModelInfer: instances of this role a group.")] = None,
    backend: Annotated[str | None, typer.Option("--backend", help="Of a Model with several: this one.")] = None,
    namespace: NamespaceOption = "default",
) -> None:
    """Change how many groups a ModelInfer has, or how many replicas a Model's backend.

    Pods that go finish what they run. Of a backend with bounds both become this number: nobody else scales it then.

    Example: matrixinfer scale model/smollm2 --replicas 3

    Example: matrixinfer scale modelinfer/split --role decode --replicas 4
    """
    wanted = read_target(target)
    if role is not None and wanted.kind != "ModelInfer":
        raise CliError("--role is for a ModelInfer; a model has backends")
    if backend is not None and wanted.kind != "Model":
        raise CliError("--backend is for a Model; a ModelInfer has roles")

    def scaled(manifest: Manifest) -> Manifest:
        if wanted.kind == "Model":
            return with_replicas(manifest, replicas, backend or "")
        check_free(manifest, f"scale that, e.g. `matrixinfer scale model/NAME --replicas {replicas}`")
        return with_groups(manifest, replicas, role or "")

    asyncio.run(_scale(wanted, scaled, namespace, where))


async def _scale(target: Target, scaled: Callable[[Manifest], Manifest], namespace: str, where: Where) -> None:

    async with objects_of(where) as client:
        outcome = await apply(client, scaled(await found(client, target, namespace)), namespace)
    typer.echo(f"{target} {'scaled' if outcome == 'configured' else outcome}")


def with_groups(infer: Manifest, replicas: int, role: str) -> Manifest:
    """Of the whole, or of each group's `role`."""
    spec = infer["spec"]
    if not role:
        return infer | {"spec": spec | {"replicas": replicas}}
    roles = _changed(spec["template"]["roles"], role, {"replicas": replicas}, "role")
    return infer | {"spec": spec | {"template": spec["template"] | {"roles": roles}}}


def with_replicas(model: Manifest, replicas: int, backend: str) -> Manifest:
    """`backend` may be empty where there is only one."""
    backends = model["spec"]["backends"]
    if not backend and len(backends) > 1:
        names = ", ".join(one["name"] for one in backends)
        raise CliError(f"the model has several backends: say which with --backend, one of {names}")
    name = backend or backends[0]["name"]
    most = next((one.get("maxReplicas") for one in backends if one["name"] == name), None)
    change = {"minReplicas": replicas} | ({"maxReplicas": replicas} if most is not None else {})
    return model | {"spec": model["spec"] | {"backends": _changed(backends, name, change, "backend")}}


def _changed(parts: list[Manifest], name: str, change: Manifest, noun: str) -> list[Manifest]:
    names = [part["name"] for part in parts]
    if name not in names:
        raise CliError(f"there is no {noun} {name!r}; expected one of {', '.join(names)}")
    return [part | change if part["name"] == name else part for part in parts]
