"""`KIND/NAME` on the command line, and an object that is read, changed and applied again."""

from __future__ import annotations

import json
from typing import Annotated, Any, NamedTuple

import typer

from matrixinfer.cli.clusters import Objects
from matrixinfer.cli.errors import CliError

Manifest = dict[str, Any]
TargetArgument = Annotated[str, typer.Argument(metavar="KIND/NAME", help="model/NAME or modelinfer/NAME.")]


class Target(NamedTuple):
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


_KINDS = {
    "model": "Model",
    "models": "Model",
    "modelinfer": "ModelInfer",
    "modelinfers": "ModelInfer",
    "mi": "ModelInfer",
}


def kind_and_name(kind: str, name: str | None) -> tuple[str, str | None]:
    """`KIND NAME` and `KIND/NAME` say the same, as with kubectl. Raises CliError for something between them."""
    before, slash, after = kind.partition("/")
    if not slash:
        return kind, name
    if not (before and after) or name is not None:
        raise CliError(f"expected KIND NAME or KIND/NAME, got {' '.join(filter(None, (kind, name)))!r}")
    return before, after


def read_target(text: str) -> Target:
    """Raises CliError for another kind than Model and ModelInfer."""
    kind, separator, name = text.partition("/")
    if not (separator and name and kind.lower() in _KINDS):
        raise CliError(f"expected model/NAME or modelinfer/NAME, got {text!r}")
    return Target(_KINDS[kind.lower()], name)


async def found(client: Objects, target: Target, namespace: str) -> Manifest:
    manifest = await client.get(target.kind, namespace, target.name)
    if manifest is None:
        raise CliError(
            f"there is no {target} in namespace {namespace!r}; `matrixinfer get {target.kind.lower()}` lists"
        )
    return manifest


async def infers_of(client: Objects, target: Target, namespace: str) -> list[Manifest]:
    """The ModelInfer itself, or all of a Model."""
    manifest = await found(client, target, namespace)
    if target.kind == "ModelInfer":
        return [manifest]
    uid = manifest["metadata"]["uid"]
    return [infer for infer in await client.list("ModelInfer", namespace) if owner_of(infer).get("uid") == uid]


def owner_of(manifest: Manifest) -> Manifest:
    owners: list[Manifest] = manifest["metadata"].get("ownerReferences", [])
    return next((owner for owner in owners if owner.get("controller")), {})


def check_free(manifest: Manifest, advice: str) -> None:
    """What a Model made, it makes again as it was: raises CliError with the `advice` what to do instead."""
    owner = owner_of(manifest)
    if owner:
        name = manifest["metadata"]["name"]
        raise CliError(f"modelinfer/{name} is what {owner['kind']} {owner['name']} wants it to be: {advice}")


async def apply(client: Objects, manifest: Manifest, namespace: str) -> str:
    """What became of it."""
    (applied,) = await client.apply(json.dumps(manifest), namespace)
    return applied.outcome
