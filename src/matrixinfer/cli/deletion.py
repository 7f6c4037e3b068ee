"""Deleting objects, and waiting until they and all that belongs to them are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import typer

from matrixinfer.cli.clusters import Objects, Where, objects_of
from matrixinfer.cli.description import belonging
from matrixinfer.cli.errors import CliError
from matrixinfer.cli.family import possible_family

Manifest = Mapping[str, Any]


async def deleted(targets: list[tuple[str, str, str]], where: Where, wait_s: float | None) -> bool:
    """Kind, namespace and name of each. False when one of them was not there. Raises CliError when they are not gone
    within `wait_s`; None does not wait."""
    is_complete = True
    going: list[Manifest] = []
    async with objects_of(where) as client:
        for kind, namespace, name in targets:
            members = await _members(client, kind, namespace, name) if wait_s is not None else []
            found = await client.delete(kind, namespace, name)
            typer.echo(f"{kind.lower()}/{name} {'deleted' if found else 'was not there'}", err=not found)
            is_complete = is_complete and found
            going += members
        if wait_s is not None:
            await _all_gone(client, going, wait_s)
    return is_complete


async def _members(client: Objects, kind: str, namespace: str, name: str) -> list[Manifest]:
    """The object and all that belongs to it, as long as it says so."""
    manifest = await client.get(kind, namespace, name)
    if manifest is None:
        return []
    return [manifest, *belonging(manifest, await possible_family(client, namespace))]


async def _all_gone(client: Objects, going: list[Manifest], wait_s: float) -> None:
    waited_for = ""
    try:
        async with asyncio.timeout(wait_s):
            for one in going:
                waited_for = f"{one['kind'].lower()}/{one['metadata']['name']}"
                await _gone(client, one)
    except TimeoutError as error:
        raise CliError(
            f"{waited_for} is still there after {wait_s:g} s; it is being deleted all the same, see `matrixinfer get`"
        ) from error


async def _gone(client: Objects, one: Manifest) -> None:
    """Another object of its name is not it."""
    metadata = one["metadata"]
    sightings = client.watch(one["kind"], metadata["namespace"], metadata["name"])
    async with aclosing(sightings):
        async for batch in sightings:
            there = [each for each in batch if each.manifest["metadata"]["uid"] == metadata["uid"] and not each.is_gone]
            if not there:
                return
