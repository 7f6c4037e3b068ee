"""Events on Kubernetes: created once, counted afterwards. The API server ends them after their time."""

from __future__ import annotations

import logging

from matrixinfer.bus.clock import Clock
from matrixinfer.bus.errors import BusError
from matrixinfer.handlers.api.event import Event
from matrixinfer.handlers.api.registry import KINDS
from matrixinfer.handlers.cluster.events import Budget, again
from matrixinfer.handlers.cluster.kubernetes.connection import Connection
from matrixinfer.handlers.cluster.kubernetes.errors import Refused
from matrixinfer.handlers.cluster.kubernetes.requests import MERGE, SPEC_MANAGER, collection_path, path_of
from matrixinfer.handlers.errors import ClusterError

logger = logging.getLogger("matrixinfer.handlers.cluster.kubernetes.recorder")

ATTEMPTS = 5
_WRITTEN_BY = {"fieldManager": SPEC_MANAGER}


class Recorder:
    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._budget = Budget()

    async def record(self, event: Event) -> None:
        """Never raises because of the cluster."""
        if not self._budget.allows(event.involved_object.uid, self._clock.now()):
            logger.debug("an Event about %s is one too many", event.involved_object.name)
            return
        try:
            await self._write(event)
        except (BusError, ClusterError) as error:
            logger.warning("an Event was not written: %s: %s (%s)", event.reason, event.message, error)

    async def _write(self, event: Event) -> None:
        for _ in range(ATTEMPTS):
            if await self._is_created(event) or await self._is_counted(event):
                return

    async def _is_created(self, event: Event) -> bool:
        path = collection_path(KINDS["Event"], event.metadata.namespace)
        body = event.to_json() | {"count": 1, "type": event.type}
        try:
            await self._connection.call("POST", path, _WRITTEN_BY, body)
        except Refused as refusal:
            if refusal.status == 409:
                return False
            raise
        return True

    async def _is_counted(self, event: Event) -> bool:
        """False when somebody else counted at the same time, or its time ended just now."""
        path = path_of(event)
        try:
            body = await self._connection.call("GET", path)
            counted = again(Event.read(body), event)
            version = body["metadata"]["resourceVersion"]
            patch = {
                "metadata": {"resourceVersion": version},
                "count": counted.count,
                "lastTimestamp": counted.last_timestamp,
            }
            await self._connection.call("PATCH", path, _WRITTEN_BY, patch, MERGE)
        except Refused as refusal:
            if refusal.status in (404, 409):
                return False
            raise
        return True
