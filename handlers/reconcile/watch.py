"""Changes become keys on RECONCILE: whatever happened, each object concerned is looked at once more."""

from __future__ import annotations

import asyncio
import logging

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.errors import BusError, Malformed, Retry
from matrixinfer.bus.ids import new_boot_id
from matrixinfer.bus.ports import Store
from matrixinfer.bus.subjects import parse_key
from matrixinfer.handlers.api.autoscalingpolicy import AutoScalingPolicy
from matrixinfer.handlers.api.autoscalingpolicybinding import AutoScalingPolicyBinding
from matrixinfer.handlers.api.meta import Resource
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.api.modelinfer import ModelInfer
from matrixinfer.handlers.api.modelroute import ModelRoute
from matrixinfer.handlers.api.modelserver import ModelServer
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.podgroup import PodGroup
from matrixinfer.handlers.api.service import Service
from matrixinfer.handlers.cluster.port import Cluster, ObjectChange
from matrixinfer.handlers.reconcile.plan import listed
from matrixinfer.handlers.reconcile.triggers import (
    Key,
    around_bindings,
    concerned,
    concerned_by_name_or_label,
    is_more_than_status,
)

logger = logging.getLogger("matrixinfer.handlers.reconcile.watch")

RETRY_S = 0.5
RESYNC = Key("Resync", "all", "all")
"""Stands for every key. It waits in the server's own schedule, so that of all processes one looks at everything."""
_RECONCILED: tuple[type[Resource], ...] = (
    Model,
    ModelInfer,
    ModelServer,
    ModelRoute,
    AutoScalingPolicy,
    AutoScalingPolicyBinding,
)
_OWNERS_OF_ENTRIES = {
    ("pool", 3): ("ModelServer", 1),
    ("pod", 4): ("ModelServer", 1),
    ("adapters", 4): ("ModelServer", 2),
    ("route", 3): ("ModelRoute", 1),
}
"""By a key's family and the number of its parts: the owner's kind, and which part behind the family is its name."""


class Watcher:
    """Every handlers process runs one. A key that waits to be posted is posted once, however often it changed. At its
    start, and when the bus is back, each looks at everything for itself: it alone knows what it may have missed.

    The message id names the change and this process: the same change heard by several processes is reconciled several
    times, because a process that has not heard of it yet may be the first to get the key, and would see nothing to do.
    """

    def __init__(self, bus: Bus, cluster: Cluster, *, resync_s: float) -> None:
        self._bus = bus
        self._cluster = cluster
        self._serving: Store = bus.store("SERVING")
        self._resync_s = resync_s
        self._boot = new_boot_id()
        self._rounds = 0
        self._pending: dict[Key, str] = {}
        self._has_pending = asyncio.Event()
        self._resync_due = asyncio.Event()
        self._resync_due.set()
        self._tick_is_due = asyncio.Event()
        self._tick_is_due.set()
        self._strange: set[str] = set()
        bus.link.on_restored(self._restored)

    async def run(self) -> None:
        """Until cancelled; begins with every object that is there."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._resync())
            group.create_task(self._tick())
            group.create_task(self._post())

    def look_at(self, key: Key, cause: str) -> None:
        """Something else than an object has changed; `cause` tells this change from others of this process."""
        self._remember(key, cause)

    def look_at_everything(self) -> None:
        self._resync_due.set()

    def on_resync(self) -> Retry:
        """The key RESYNC has come to this process; the answer is when it shall come again, to whomever."""
        self._resync_due.set()
        return Retry(self._resync_s, "everything is looked at again then")

    async def _restored(self) -> None:
        self._resync_due.set()
        self._tick_is_due.set()

    async def _listen(self) -> None:
        async for change in self._cluster.watch([*_RECONCILED, Pod, Service, PodGroup]):
            for key in concerned(change) | self._concerned_too(change):
                self._remember(key, _change_id(change))

    def _concerned_too(self, change: ObjectChange) -> set[Key]:
        """A Pod's status (is it ready?) concerns its pools; of the others only what is wanted of them does."""
        if not (isinstance(change.newest, Pod) or is_more_than_status(change)):
            return set()
        servers, routes = self._cluster.list(ModelServer), self._cluster.list(ModelRoute)
        bindings = self._cluster.list(AutoScalingPolicyBinding)
        return concerned_by_name_or_label(change, servers, routes) | around_bindings(change, bindings)

    async def _tick(self) -> None:
        """Put RESYNC into the server's schedule, again when the bus is back: a stream may have been made anew. Who
        comes later takes the place of the former, so that there is one."""
        subject = self._bus.subjects.reconcile(*RESYNC)
        while True:
            await self._tick_is_due.wait()
            self._tick_is_due.clear()
            try:
                await (await self._bus.queue.post_later("RECONCILE", subject, b"", after_s=self._resync_s, key=subject))
            except BusError as error:
                logger.warning("the next resync could not be scheduled, next try in %g s: %s", RETRY_S, error)
                self._tick_is_due.set()
                await self._bus.clock.sleep(RETRY_S)

    async def _resync(self) -> None:
        while True:
            await self._resync_due.wait()
            self._resync_due.clear()
            try:
                keys = await self._everything()
            except BusError as error:
                logger.warning("resync did not begin and is tried again in %g s: %s", RETRY_S, error)
                self._resync_due.set()
                await self._bus.clock.sleep(RETRY_S)
                continue
            self._rounds += 1
            for key in keys:
                self._remember(key, f"resync:{self._rounds}")

    async def _everything(self) -> set[Key]:
        """Objects, and what is in SERVING: the deletion of its object may have been missed."""
        keys = {Key(*resource.key) for kind in _RECONCILED for resource in self._cluster.list(kind)}
        owners = {entry: _owner(entry) for entry in await self._serving.entries()}
        self._tell_of({entry for entry, owner in owners.items() if owner is None})
        return keys | {owner for owner in owners.values() if owner is not None}

    def _tell_of(self, strange: set[str]) -> None:
        """Once of each: another version may have put them there, and they are none of ours."""
        if strange - self._strange:
            logger.warning("keys in SERVING that this version does not know are left alone: %s", listed(strange))
        self._strange = strange

    def _remember(self, key: Key, cause: str) -> None:
        self._pending[key] = cause
        self._has_pending.set()

    async def _post(self) -> None:
        while True:
            await self._has_pending.wait()
            self._has_pending.clear()
            batch, self._pending = self._pending, {}
            failed = await self._post_all(batch)
            if failed:
                self._pending = failed | self._pending
                self._has_pending.set()
                await self._bus.clock.sleep(RETRY_S)

    async def _post_all(self, batch: dict[Key, str]) -> dict[Key, str]:
        """Returns what could not be posted."""
        results = await asyncio.gather(*(self._post_one(key, cause) for key, cause in batch.items()))
        failed = {key: cause for (key, cause), error in zip(batch.items(), results, strict=True) if error is not None}
        if failed:
            reason = next(error for error in results if error is not None)
            logger.warning("%d keys could not be posted and are tried again: %s", len(failed), reason)
        return failed

    async def _post_one(self, key: Key, cause: str) -> BusError | None:
        message_id = f"{'/'.join(key)}:{cause}:{self._boot}"
        try:
            await (await self._bus.queue.post(self._bus.subjects.reconcile(*key), b"", message_id=message_id))
        except BusError as error:
            return error
        return None


def _owner(entry: str) -> Key | None:
    """The object that an entry of SERVING belongs to; None for an entry of another version."""
    try:
        family, *names = parse_key(entry)
    except Malformed:
        return None
    kind, place = _OWNERS_OF_ENTRIES.get((family, 1 + len(names)), ("", 0))
    return Key(kind, names[0], names[place]) if kind else None


def _change_id(change: ObjectChange) -> str:
    metadata = change.newest.metadata
    return f"{metadata.uid}:{metadata.resource_version if change.after is not None else 'gone'}"
