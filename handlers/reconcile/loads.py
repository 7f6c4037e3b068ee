"""What the agents say of the work they have: by it a Pod that leaves is known to be idle, and the idlest goes first."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.load import LoadEvent, WorkKey
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.bus.ports import Signal
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.cluster.port import Cluster
from matrixinfer.handlers.reconcile.infer.census import is_leaving
from matrixinfer.handlers.reconcile.triggers import Key

logger = logging.getLogger("matrixinfer.handlers.reconcile.loads")

SILENT_AFTER_S = 3.0
"""Six heartbeats: of whom nothing is heard for so long, nothing is known."""
RETRY_S = 1.0
SWEEP_EVERY_S = 60.0


def look_at_leaving(cluster: Cluster, look_at: Callable[[Key, str], None], namespace: str, name: str) -> None:
    """If the idle Pod shall go, its owner is to hear of it."""
    pod = cluster.get(Pod, namespace, name)
    owner = pod.owner() if pod is not None and is_leaving(pod) else None
    if pod is not None and owner is not None and owner.kind == "ModelInfer":
        look_at(Key(owner.kind, namespace, owner.name), f"idle:{pod.metadata.uid}")


class _Heard:
    __slots__ = ("at", "boot", "work")

    def __init__(self, boot: str) -> None:
        self.boot = boot
        self.at = -math.inf
        self.work: set[WorkKey] = set()


class LoadWatch:
    """Every handlers process runs one. `on_idle` gets the namespace and name of a Pod that is now known to be idle."""

    def __init__(self, bus: Bus, on_idle: Callable[[str, str], None]) -> None:
        self._bus = bus
        self._on_idle = on_idle
        self._heard: dict[tuple[str, str], _Heard] = {}

    def of(self, namespace: str) -> dict[str, int]:
        """Requests that each Pod has, by its name; without those of which nothing was heard of late."""
        now = self._bus.clock.monotonic()
        return {
            pod: len(heard.work)
            for (home, pod), heard in self._heard.items()
            if home == namespace and now - heard.at < SILENT_AFTER_S
        }

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                subscription = await self._bus.signals.subscribe(self._bus.subjects.load_filter(), self._on_load)
                break
            except BusError as error:
                logger.warning("cannot listen to the agents' load yet: %s", error)
                await self._bus.clock.sleep(RETRY_S)
        try:
            while True:
                await self._bus.clock.sleep(SWEEP_EVERY_S)
                self._sweep()
        finally:
            await asyncio.shield(subscription.close())

    async def _on_load(self, signal: Signal) -> None:
        try:
            event = decode(signal.data, LoadEvent)
        except Malformed as error:
            logger.debug("a load event is left out: %s", error)
            return
        key, now = (event.namespace, event.pod), self._bus.clock.monotonic()
        heard = self._heard.get(key)
        if heard is None or heard.boot != event.boot:
            heard = self._heard[key] = _Heard(event.boot)
        was_known_idle = now - heard.at < SILENT_AFTER_S and not heard.work
        if event.snapshot is not None:
            heard.work = {*event.snapshot.running, *event.snapshot.waiting}
        else:
            heard.work.update(event.started)
            heard.work.difference_update(finished.key for finished in event.finished)
        heard.at = now
        if not (heard.work or was_known_idle):
            self._on_idle(*key)

    def _sweep(self) -> None:
        now = self._bus.clock.monotonic()
        for key in [key for key, heard in self._heard.items() if now - heard.at >= SILENT_AFTER_S]:
            del self._heard[key]
