"""An entry of the bucket as this node sees it: a Pod to run, an object that is told why it cannot run, or nothing."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import msgspec

from matrixinfer.agents.node.errors import BadPod
from matrixinfer.agents.node.pods import Pod, PodId, read_pod
from matrixinfer.agents.node.shapes import Object, once_told, unfit
from matrixinfer.bus.errors import Malformed
from matrixinfer.bus.ports import Entry
from matrixinfer.bus.subjects import parse_key

logger = logging.getLogger("matrixinfer.agents.node.reading")


@dataclass(frozen=True)
class Seen:
    """A Pod's object at one revision. `refusal` says why it cannot run; then `pod` is None."""

    document: dict[str, Any]
    revision: int
    pod: Pod | None
    refusal: str = ""

    @property
    def metadata(self) -> Object:
        return once_told(self.document.get("metadata"))


def read_key(key: str) -> PodId | None:
    """None for a key that no Pod has."""
    try:
        _, namespace, name = parse_key(key)
    except (ValueError, Malformed) as error:
        logger.warning("%s is no pod's key and is left alone: %s", key, error)
        return None
    return PodId(namespace, name)


def read_entry(id: PodId, entry: Entry) -> Seen | None:
    """None for what is no object: it cannot be told anything, and what was known of it holds."""
    refusal = ""
    try:
        document = msgspec.json.decode(entry.value)
    except (ValueError, RecursionError) as error:
        document, refusal = _read_by_python(entry.value, error)
    if not isinstance(document, dict):
        logger.warning("%s is no object and is left alone%s", entry.key, f": {refusal}" if refusal else "")
        return None
    return (
        Seen(document, entry.revision, None, f"pod {id}: {refusal}") if refusal else read(id, document, entry.revision)
    )


def read(id: PodId, document: dict[str, Any], revision: int) -> Seen:
    try:
        pod = read_pod(document)
        if pod.id != id:
            raise BadPod(f"pod {id}: metadata are those of another: expected namespace and name of {id}, got {pod.id}")
        return Seen(document, revision, pod)
    except BadPod as error:
        return Seen(document, revision, None, str(error))
    except Exception as error:
        logger.exception("pod %s met a defect of the node", id)
        return Seen(document, revision, None, f"its spec cannot be read: {type(error).__name__}: {error}")


def written(seen: Seen, document: dict[str, Any]) -> bytes:
    """What was refused may hold what only Python's JSON can write."""
    return json.dumps(document).encode() if seen.pod is None else msgspec.json.encode(document)


def _read_by_python(value: bytes, why: Exception) -> tuple[object, str]:
    """What is JSON but for a half character or a number that is none: with the reason why it is not taken."""
    try:
        document = json.loads(value)
        return document, unfit(document) or f"its JSON cannot be read: {why}"
    except (ValueError, RecursionError):
        return None, f"no JSON that can be read: {why}"
