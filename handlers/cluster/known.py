"""The objects that a process knows of, by kind and key, and who wants to hear when they change. Every adapter's cache
is one of these and a rule of what to believe."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from matrixinfer.handlers.api.meta import Resource
from matrixinfer.handlers.api.registry import KINDS
from matrixinfer.handlers.cluster.port import ObjectChange
from matrixinfer.handlers.errors import Unreadable

logger = logging.getLogger("matrixinfer.handlers.cluster.known")

_NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Cached:
    """One object: as stored, and as a resource unless this version cannot read it (`problem` says why)."""

    revision: int
    resource: Resource | None
    problem: str = ""
    uid: str = ""

    def readable(self) -> Resource:
        if self.resource is None:
            raise Unreadable(self.problem)
        return self.resource


def read(kind: str, place: str, body: dict[str, Any], revision: int) -> Cached:
    """`body` as an object of `kind`; what cannot be read is kept with its problem. `place` is `namespace/name`, for
    people."""
    try:
        body["metadata"]["resourceVersion"] = str(revision)
        resource = KINDS[kind].type.read(body)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        problem = f"{kind} {place} cannot be read by this version: {error}"
        metadata = body.get("metadata") if isinstance(body, dict) else None
        uid = str(metadata.get("uid", "")) if isinstance(metadata, dict) else ""
        return Cached(revision, None, problem, uid)
    return Cached(revision, resource, "", resource.metadata.uid)


class Known:
    """Found by key, and by any label: what has a label costs nothing to those who look for another."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, Cached]] = {kind: {} for kind in KINDS}
        self._labelled: dict[tuple[str, str, str], set[str]] = {}
        """Keys by kind, label and value."""
        self._watchers: list[tuple[frozenset[str], asyncio.Queue[ObjectChange]]] = []

    def get(self, kind: str, key: str) -> Cached | None:
        return self._kinds[kind].get(key)

    def keys(self, kind: str) -> list[str]:
        return list(self._kinds[kind])

    def select(self, kind: str, namespace: str | None, labels: Mapping[str, str]) -> Iterator[Resource]:
        """Only what can be read."""
        objects, wanted = self._kinds[kind], labels.items()
        keys: Collection[str] = objects
        if labels:
            keys = min((self._labelled.get((kind, *label), _NOBODY) for label in wanted), key=len)
        for resource in (objects[key].resource for key in keys):
            if resource is None or (namespace is not None and resource.metadata.namespace != namespace):
                continue
            if wanted <= resource.metadata.labels.items():
                yield resource

    def put(self, kind: str, key: str, cached: Cached | None) -> None:
        """As it is from now on (None: gone); who watches hears of it. A problem is logged when it is new."""
        held = self._kinds[kind].pop(key, None)
        if cached is not None and cached.problem and (held is None or held.problem != cached.problem):
            logger.error("%s", cached.problem)
        if cached is not None:
            self._kinds[kind][key] = cached
        after = cached.resource if cached is not None else None
        before = held.resource if held is not None else None
        self._relabel(kind, key, before, after)
        if before is None and after is None:
            return
        for kinds, queue in self._watchers:
            if kind in kinds:
                queue.put_nowait(ObjectChange(before, after))

    def _relabel(self, kind: str, key: str, before: Resource | None, after: Resource | None) -> None:
        old = before.metadata.labels.items() if before is not None else set()
        new = after.metadata.labels.items() if after is not None else set()
        for label in old - new:
            keys = self._labelled[kind, *label]
            keys.discard(key)
            if not keys:
                del self._labelled[kind, *label]
        for label in new - old:
            self._labelled.setdefault((kind, *label), set()).add(key)

    async def changes(self, kinds: Iterable[str]) -> AsyncIterator[ObjectChange]:
        wanted = frozenset(kinds)
        queue: asyncio.Queue[ObjectChange] = asyncio.Queue()
        for kind in wanted:
            for cached in self._kinds[kind].values():
                if cached.resource is not None:
                    queue.put_nowait(ObjectChange(None, cached.resource))
        watcher = (wanted, queue)
        self._watchers.append(watcher)
        try:
            while True:
                yield await queue.get()
        finally:
            self._watchers.remove(watcher)


class Seen:
    """How far a watch has come; `reaches` waits for it."""

    def __init__(self) -> None:
        self.revision = 0
        self._waiting: dict[asyncio.Future[None], int] = {}

    def reached(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        for future, wanted in list(self._waiting.items()):
            if wanted <= self.revision and not future.done():
                future.set_result(None)

    def starts_again(self, revision: int) -> None:
        """The store was put back: its revisions are lower than those before."""
        self.revision = 0
        self.reached(revision)

    async def reaches(self, revision: int, timeout_s: float) -> bool:
        if revision <= self.revision:
            return True
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = revision
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            return False
        finally:
            del self._waiting[future]
        return True
