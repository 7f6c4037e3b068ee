"""This process's right to dispatch: its lease `dispatcher.<id>`, kept as long as it can be renewed in time."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.errors import BusError, LeaseLost
from matrixinfer.bus.ports import Lease
from matrixinfer.bus.subjects import key
from matrixinfer.handlers.dispatch.errors import TenureLost
from matrixinfer.handlers.dispatch.settings import DispatchSettings

logger = logging.getLogger("matrixinfer.dispatch.tenure")

HOLDERS = "dispatcher."


class Tenure:
    """`on_change` is called after each gain and loss. Whoever acts asks `holds` first: a process that stood still for a
    while wakes up in the middle of anything, long before it can be told that its lease is gone."""

    def __init__(self, bus: Bus, settings: DispatchSettings, dispatcher_id: str, on_change: Callable[[], None]) -> None:
        self._bus = bus
        self._settings = settings
        self._on_change = on_change
        self._until = -math.inf
        self._lease: Lease | None = None
        self.owner = dispatcher_id
        self.term = 0
        """Grows with each lease: what was claimed in an earlier term may be somebody else's by now."""

    def holds(self, now: float) -> bool:
        return now < self._until

    async def run(self) -> None:
        """Acquire, keep, and after a loss acquire again; for ever."""
        while True:
            asked_at = self._bus.clock.monotonic()
            lease = await self._acquire()
            if lease is None:
                await self._bus.clock.sleep(self._settings.renew_every_s)
                continue
            self.term += 1
            self._hold(lease, asked_at)
            self._on_change()
            logger.info("dispatcher %s holds its lease, epoch %d", self.owner, lease.epoch)
            try:
                await self._keep(lease)
            except (TenureLost, LeaseLost) as error:
                logger.warning("dispatcher %s stops everything: %s", self.owner, error)
            self._drop()
            self._on_change()

    async def resign(self) -> None:
        """Give the lease back, so that the successors need not wait until it runs out."""
        lease = self._lease
        self._drop()
        if lease is None:
            return
        try:
            await self._bus.leases.release(lease)
        except BusError as error:
            logger.warning("the lease %s could not be released and runs out by itself: %s", lease.name, error)

    def _hold(self, lease: Lease, asked_at: float) -> None:
        self._lease = lease
        self._until = asked_at + self._settings.lease_ttl_s

    def _drop(self) -> None:
        self._lease = None
        self._until = -math.inf

    async def _acquire(self) -> Lease | None:
        name = key("dispatcher", self.owner)
        try:
            return await self._bus.leases.acquire(name, self.owner, ttl_s=self._settings.lease_ttl_s)
        except BusError as error:
            logger.warning("the lease %s cannot be acquired yet: %s", name, error)
            return None

    async def _keep(self, lease: Lease) -> None:
        """Renew until that fails for good. Raises TenureLost, LeaseLost."""
        while True:
            await self._bus.clock.sleep(self._settings.renew_every_s)
            asked_at = self._bus.clock.monotonic()
            if not self.holds(asked_at):
                raise TenureLost(f"the lease could not be renewed within {self._settings.lease_ttl_s:g} s")
            try:
                lease = await self._bus.leases.renew(lease)
            except LeaseLost:
                raise
            except BusError as error:
                logger.warning("the lease %s could not be renewed, trying again: %s", lease.name, error)
                continue
            self._hold(lease, asked_at)
