"""What `up` applied the last time: objects that its manifest does not hold any more are deleted at the next start.

So `up` with another manifest serves that one's models only; what a person applied is left alone.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path

from matrixinfer.bus.cluster_client import ClusterClient
from matrixinfer.up.manifests import Named, names

logger = logging.getLogger("matrixinfer.up.applied")


async def apply(client: ClusterClient, manifest: str, data_dir: Path) -> None:
    """Apply the manifest and delete what the former one held in addition. Raises Refused for a bad manifest."""
    now = names(manifest)
    before = _read(data_dir)
    await client.apply(manifest)
    for gone in (named for named in before if named not in now):
        logger.info("%s %s/%s is not in the manifest any more: deleted", gone.kind, gone.namespace, gone.name)
        await client.delete(gone.kind, gone.namespace, gone.name)
    _path(data_dir).write_text(json.dumps([asdict(named) for named in now], indent=2))


def _read(data_dir: Path) -> list[Named]:
    try:
        return [Named(**item) for item in json.loads(_path(data_dir).read_text())]
    except (FileNotFoundError, ValueError, TypeError):
        return []


def _path(data_dir: Path) -> Path:
    return data_dir / "applied.json"
