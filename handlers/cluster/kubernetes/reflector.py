"""Keeps the cache of one kind current: a list, then a watch from where the list ended, for ever.

list (in pages) ──► watch from its version ──► ended by the server, or broken: watch again from the last version
   ▲                                                        │
   └──── the server has forgotten that version (410) ◄──────┘      the list's differences are told as changes
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
from typing import Any

from matrixinfer.bus.clock import Clock
from matrixinfer.bus.errors import BusError, Unavailable
from matrixinfer.handlers.api.registry import Kind
from matrixinfer.handlers.cluster.kubernetes.backoff import Backoff
from matrixinfer.handlers.cluster.kubernetes.cache import Cache
from matrixinfer.handlers.cluster.kubernetes.connection import Connection
from matrixinfer.handlers.cluster.kubernetes.errors import Refused, TooOld
from matrixinfer.handlers.cluster.kubernetes.requests import collection_path
from matrixinfer.handlers.errors import ClusterError

logger = logging.getLogger("matrixinfer.handlers.cluster.kubernetes.reflector")

PAGE = 500
WATCH_S = 300.0
"""A watch is ended by the server after so long, or up to twice that, and begun again from where it was."""
SILENT_S = 30.0
"""How much longer than it was asked for a watch may last before it counts as dead."""
NOT_SERVED_S = 60.0
"""A kind that the server does not know (its CRD is not installed) is asked for again no more often than this."""


class Reflector:
    """`load` once, then keep `run` running."""

    def __init__(self, connection: Connection, cache: Cache, kind: Kind, clock: Clock) -> None:
        self._connection = connection
        self._cache = cache
        self._kind = kind
        self._clock = clock
        self._path = collection_path(kind)
        self._version: str | None = None
        self._backoff = Backoff()
        self.is_served = True

    async def load(self) -> None:
        """The list; a kind that is not served counts as one without objects. Raises Unavailable, ClusterError."""
        graves = self._cache.graves(self._kind.name)
        try:
            bodies, version = await self._list()
        except Refused as refusal:
            if refusal.status != 404:
                raise
            self._tell_that_it_is_not_served()
            return
        self.is_served = True
        self._cache.listed(self._kind.name, bodies, int(version), graves)
        self._version = version

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._step()
            except TooOld as error:
                logger.info("%s are listed again: %s", self._kind.plural, error.message)
                self._version = None
            except (BusError, ClusterError) as error:
                asked_s = error.retry_after_s if isinstance(error, Refused) else None
                wait_s = self._backoff.failed(random.random(), asked_s)
                logger.warning("%s are watched again in %.1f s: %s", self._kind.plural, wait_s, error)
                await self._clock.sleep(wait_s)

    async def _step(self) -> None:
        if self._version is None:
            await self.load()
        if self._version is None:
            await self._clock.sleep(NOT_SERVED_S * (1.0 + random.random()))
            return
        await self._watch(self._version)

    async def _list(self) -> tuple[list[dict[str, Any]], str]:
        """Everything, as of the version that is returned. Raises TooOld when the pages took too long."""
        found: list[dict[str, Any]] = []
        query = {"limit": str(PAGE)}
        while True:
            page = await self._connection.call("GET", self._path, query)
            found += page["items"]
            metadata = page["metadata"]
            if not metadata.get("continue"):
                return found, metadata["resourceVersion"]
            query["continue"] = metadata["continue"]

    async def _watch(self, version: str) -> None:
        for_s = WATCH_S * (1.0 + random.random())
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(int(for_s)),
        }
        lines = self._connection.lines(self._path, query, silent_s=for_s + SILENT_S)
        async with contextlib.aclosing(lines):
            async for line in lines:
                self._take(line)
                self._backoff.succeeded()

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            what, body = event["type"], event["object"]
            if what == "ERROR":
                raise error_of(body)
            self._cache.saw(self._kind.name, what, body)
            self._version = body["metadata"]["resourceVersion"]
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(f"the watch of {self._path} said what nobody understands: {error!r}") from error

    def _tell_that_it_is_not_served(self) -> None:
        if self.is_served:
            logger.warning("the API server does not serve %s (%s)", self._kind.plural, self._kind.api_version)
        self.is_served = False
        self._cache.listed(self._kind.name, (), self._cache.seen[self._kind.name].revision, frozenset())


def error_of(status: dict[str, Any]) -> Refused:
    """What an ERROR of a watch means."""
    code, reason, message = int(status.get("code", 500)), str(status.get("reason", "")), str(status.get("message", ""))
    return TooOld(code, reason, message) if code == 410 else Refused(code, reason, message)
