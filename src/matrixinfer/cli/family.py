"""What may belong to an object: everything of its namespace that others own."""

from __future__ import annotations

from typing import Any

from matrixinfer.cli.clusters import Objects
from matrixinfer.cli.description import CHILDREN

Manifest = dict[str, Any]


async def possible_family(client: Objects, namespace: str) -> list[Manifest]:
    return [one for kind in CHILDREN for one in await _listed(client, kind, namespace)]


async def _listed(client: Objects, kind: str, namespace: str) -> list[Manifest]:
    """None of a kind that the cluster does not have."""
    from matrixinfer.bus.cluster_client import Refused

    try:
        return await client.list(kind, namespace)
    except Refused as refused:
        if refused.code != "not_found":
            raise
        return []
