"""This node's right to its name: the lease `node.<name>`, which also tells the rest of the platform that it is alive.

A node that was killed leaves its lease behind for some seconds. Its successor on the same data folder finds it written
down there, knows by the folder's lock that its owner is dead, and takes it over; any other node waits until it ran out.
"""

from __future__ import annotations

import logging

from matrixinfer.agents.node.errors import NameTaken
from matrixinfer.agents.node.records import Records
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.errors import BusError, LeaseLost
from matrixinfer.bus.ids import new_boot_id
from matrixinfer.bus.ports.leases import Lease
from matrixinfer.bus.subjects import key

logger = logging.getLogger("matrixinfer.agents.node.tenancy")

RENEWALS_PER_TTL = 4
PATIENCE_S = 1.0
"""A lease that is held so long beyond its time to live is renewed by somebody who is alive."""


class Tenancy:
    """`begin` before any work, `keep` as a task while it goes on, `end` at last. The owner tells one life of a node
    from the next."""

    def __init__(self, bus: Bus, name: str, records: Records, ttl_s: float) -> None:
        self._bus = bus
        self._name = name
        self._key = key("node", name)
        self._owner = new_boot_id()
        self._records = records
        self._ttl_s = ttl_s
        self._lease: Lease | None = None
        self._without_since_s = bus.clock.monotonic()

    async def begin(self) -> None:
        """Returns when this node may work under its name. Raises NameTaken when another one does, BusError."""
        self._without_since_s = self._bus.clock.monotonic()
        await self._end_predecessor()
        while not await self._acquire():
            self._refuse_when_too_long()
            logger.warning("another node %s was here a moment ago; waiting until it is surely gone", self._name)
            await self._bus.clock.sleep(self._ttl_s / RENEWALS_PER_TTL)

    async def keep(self) -> None:
        """For ever. Raises NameTaken when another node works under this name; an absent bus is waited for."""
        while True:
            await self._bus.clock.sleep(self._ttl_s / RENEWALS_PER_TTL)
            try:
                await self._renew()
            except BusError as error:
                logger.warning("the lease %s could not be renewed, next try soon: %s", self._key, error)
                self._without_since_s = self._bus.clock.monotonic()

    async def end(self) -> None:
        """Give the name back, so that the next node need not wait."""
        lease, self._lease = self._lease, None
        if lease is None or not self._bus.link.is_up():
            return
        try:
            await self._bus.leases.release(lease)
        except BusError as error:
            logger.warning("the lease %s could not be released and runs out by itself: %s", self._key, error)

    async def _renew(self) -> None:
        if self._lease is not None:
            try:
                self._lease = await self._bus.leases.renew(self._lease)
                return
            except LeaseLost as error:
                logger.warning("node %s acquires its lease again: %s", self._name, error)
                self._lease = None
                self._without_since_s = self._bus.clock.monotonic()
        if not await self._acquire():
            self._refuse_when_too_long()

    async def _acquire(self) -> bool:
        lease = await self._bus.leases.acquire(self._key, self._owner, ttl_s=self._ttl_s)
        if lease is None:
            return False
        self._lease = await self._bus.leases.renew(lease)  # from its first renewal on it can be told by its epoch
        try:
            self._records.save_lease(self._lease)
        except OSError as error:  # a full disk, say
            logger.warning(
                "the lease %s cannot be written down, a successor will wait for its end: %s", self._key, error
            )
        return True

    async def _end_predecessor(self) -> None:
        left = self._records.load_lease()
        if left is None or left.name != self._key:
            return
        try:
            await self._bus.leases.release(await self._bus.leases.renew(left))
            logger.info("node %s takes over from the last one on its folder", self._name)
        except LeaseLost:
            logger.debug("the lease of the last node on this folder ran out, or was given back")

    def _refuse_when_too_long(self) -> None:
        if self._bus.clock.monotonic() - self._without_since_s > self._ttl_s + PATIENCE_S:
            raise NameTaken(self._name, self._bus.subjects.prefix)
