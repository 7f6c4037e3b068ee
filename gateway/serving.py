"""The gateway's view of what is served: the bucket SERVING, followed, as a route table that is replaced whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.serving import Pool, Route
from matrixinfer.bus.errors import Malformed
from matrixinfer.bus.ports import Entry, Watch
from matrixinfer.gateway.pipeline.routing import RouteTable

log = logging.getLogger("matrixinfer.gateway.serving")

C = TypeVar("C", bound=msgspec.Struct)


class Serving:
    """`table` is what is served now. `start` reads it, `run` keeps it up to date until cancelled."""

    def __init__(self, bus: Bus, on_change: Callable[[Iterable[Pool]], None] = lambda _: None) -> None:
        """`on_change` is told all pools that are there, when any of them, or a route, changed."""
        self.table = RouteTable()
        self._on_change = on_change
        self._bus = bus
        self._closed = False
        self._watch: Watch | None = None
        self._routes: dict[str, Route] = {}
        self._pools: dict[str, Pool] = {}

    def is_primed(self) -> bool:
        return self._watch is not None

    async def start(self) -> None:
        """Read the whole bucket. Raises Unavailable."""
        watch = await self._bus.store("SERVING").watch()
        for key, entry in watch.snapshot.items():
            self._note(key, entry)
        self._compile()
        self._watch = watch

    async def run(self) -> None:
        """Follow the changes."""
        if self._watch is None:
            raise RuntimeError("Serving.run was called before Serving.start")
        async for change in self._watch:
            if self._note(change.key, change.entry):
                self._compile()
        if not self._closed:
            raise RuntimeError("the watch of SERVING ended by itself: routes would no longer be followed")

    async def close(self) -> None:
        self._closed = True
        if self._watch is not None:
            await self._watch.close()

    def _note(self, key: str, entry: Entry | None) -> bool:
        """True when it matters to the table: pods do not."""
        if key.startswith("route."):
            return _keep(self._routes, key, entry, Route)
        return key.startswith("pool.") and _keep(self._pools, key, entry, Pool)

    def _compile(self) -> None:
        self.table = RouteTable(self._routes.values(), self._pools.values())
        self._on_change(self._pools.values())


def _keep(known: dict[str, C], key: str, entry: Entry | None, kind: type[C]) -> bool:
    if entry is None:
        return known.pop(key, None) is not None
    try:
        known[key] = decode(entry.value, kind)
    except Malformed as error:  # what was there before goes on serving
        log.error("%s in SERVING cannot be read and is ignored: %s", key, error)
        return False
    return True


def served_models(table: RouteTable) -> list[dict[str, object]]:
    """OpenAI's form of everything a client can ask for."""
    return [
        {"id": m.name, "object": "model", "created": int(m.created_s), "owned_by": "matrixinfer"}
        | ({"parent": m.parent} if m.parent else {})
        for m in table.models()
    ]
