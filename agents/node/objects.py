"""The node's view of the objects of the local cluster: Pods watched, claimed, reported on and removed.

The bucket OBJECTS holds JSON under `Pod.<namespace>.<name>`; every write is a compare-and-set, so that whoever wrote
meanwhile is never overwritten: the next change brings the newest object and the node tries again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from matrixinfer.agents.node.errors import NodeError
from matrixinfer.agents.node.pods import Pod, PodId
from matrixinfer.agents.node.reading import Seen, read, read_entry, read_key, written
from matrixinfer.bus.errors import Conflict
from matrixinfer.bus.ports import Entry, Store, Watch
from matrixinfer.bus.subjects import key

logger = logging.getLogger("matrixinfer.agents.node.objects")

KIND = "Pod"


class Objects:
    """Follows the Pods; `on_change` is called after every change that this node learned of."""

    def __init__(self, store: Store, node: str, on_change: Callable[[], None]) -> None:
        self._store = store
        self._node = node
        self._on_change = on_change
        self._seen: dict[PodId, Seen] = {}

    async def follow(self, watch: Watch) -> None:
        """Runs until it is cancelled. Raises NodeError should the watch end: a deaf node must not go on."""
        async for change in watch:
            self._take(change.key, change.entry)
            self._on_change()
        raise NodeError("the watch of the pods ended; the node starts anew")

    def begin(self, watch: Watch) -> None:
        """Take what is there when the watch begins."""
        for name, entry in watch.snapshot.items():
            self._take(name, entry)

    def mine(self) -> dict[PodId, Pod]:
        """The Pods of this node."""
        return {id: seen.pod for id, seen in self._seen.items() if seen.pod and seen.pod.node == self._node}

    def unclaimed(self) -> list[PodId]:
        return [id for id, seen in self._seen.items() if seen.pod and not seen.pod.node and not seen.pod.is_deleting]

    def refused(self) -> Iterator[tuple[PodId, Seen]]:
        """Pods that nobody can run."""
        return ((id, seen) for id, seen in list(self._seen.items()) if seen.pod is None)

    async def claim(self, id: PodId) -> None:
        """Say that this node runs the Pod, unless another said so first."""
        seen = self._seen.get(id)
        if seen is not None:
            spec = {**(seen.document.get("spec") or {}), "nodeName": self._node}
            await self._write(id, seen, {**seen.document, "spec": spec})

    async def report(self, id: PodId, status: dict[str, Any]) -> None:
        """Write the status where it differs from what the object says."""
        seen = self._seen.get(id)
        if seen is not None and seen.document.get("status") != status:
            await self._write(id, seen, {**seen.document, "status": status})

    async def remove(self, id: PodId) -> None:
        """The Pod is gone for good. One with finalizers stays until those who set them took them away."""
        seen = self._seen.get(id)
        if seen is None or seen.metadata.get("finalizers"):
            return
        try:
            await self._store.delete(key(KIND, *id), revision=seen.revision)
        except Conflict:
            return
        logger.info("pod %s removed", id)
        self._forget(id, seen)

    async def _write(self, id: PodId, seen: Seen, document: dict[str, Any]) -> None:
        try:
            revision = await self._store.put(key(KIND, *id), written(seen, document), revision=seen.revision)
        except Conflict:  # a newer object is on its way to us
            return
        if self._seen.get(id) is seen:
            is_refused = seen.pod is None
            changed = replace(seen, document=document, revision=revision)
            self._seen[id] = changed if is_refused else read(id, document, revision)

    def _take(self, name: str, entry: Entry | None) -> None:
        id = read_key(name)
        if id is None:
            return
        known = self._seen.get(id)
        if entry is None:
            if known is not None:
                del self._seen[id]
        elif known is None or entry.revision > known.revision:
            seen = read_entry(id, entry)
            if seen is not None:
                self._seen[id] = seen

    def _forget(self, id: PodId, seen: Seen) -> None:
        if self._seen.get(id) is seen:
            del self._seen[id]
