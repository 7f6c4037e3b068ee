"""Builds a node out of its parts and runs it: one loop looks at processes, one reports, one follows the Pods."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable

from matrixinfer.agents.node.backoff import Backoff
from matrixinfer.agents.node.environment import Machine
from matrixinfer.agents.node.keeper import Keeper
from matrixinfer.agents.node.objects import KIND, Objects
from matrixinfer.agents.node.pods import Container, ContainerId, Pod, PodId
from matrixinfer.agents.node.prober import Prober
from matrixinfer.agents.node.processes import Processes
from matrixinfer.agents.node.readiness import Readiness
from matrixinfer.agents.node.reading import Seen
from matrixinfer.agents.node.records import Records
from matrixinfer.agents.node.settings import NodeSettings
from matrixinfer.agents.node.status import all_ready, pod_status, refusal_status
from matrixinfer.agents.node.surroundings import Surroundings
from matrixinfer.agents.node.tenancy import Tenancy
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.errors import BusError, Malformed, TooLarge
from matrixinfer.bus.ids import new_boot_id
from matrixinfer.bus.subjects import key

logger = logging.getLogger("matrixinfer.agents.node.main")

REPORT_RETRY_S = 1.0


async def serve(settings: NodeSettings, bus: Bus, stop: asyncio.Event) -> None:
    """Run the Pods of this node until `stop`. Raises NodeTaken when another node works with the same folder, or
    under the same name on the same bus.

    When it ends by an error, or is killed, its containers go on, and the next node adopts them.
    """
    records = Records(settings.data_dir)
    try:
        await Node(settings, bus, records).run(stop)
    finally:
        records.close()


class Node:
    """One life of a node."""

    def __init__(self, settings: NodeSettings, bus: Bus, records: Records) -> None:
        self._settings = settings
        self._bus = bus
        self._dirty = asyncio.Event()
        self._removable: set[PodId] = set()
        self._untold: dict[PodId, str] = {}
        self._owner = f"{settings.data_dir.absolute()}#"
        self._backoff = Backoff(settings.backoff_first_s, settings.backoff_limit_s, settings.backoff_reset_s)
        self._objects = Objects(bus.store("OBJECTS"), settings.name, self._turn)
        self._readiness = Readiness(bus.clock, settings.ready_silence_s, self._dirty.set)
        self._processes = Processes()
        self._tenancy = Tenancy(bus, settings.name, records, settings.lease_ttl_s)
        self._is_ending = False
        self._reporting = asyncio.Lock()
        self._prober = Prober(
            bus.clock,
            self._surroundings_of_a_check,
            on_change=self._turn,
            on_post_started=self._on_post_started,
        )
        self._keeper = Keeper(
            records,
            self._processes,
            machine_of(settings, bus),
            self._backoff,
            new_life=lambda: self._owner + new_boot_id(),
            on_change=self._on_container_changed,
            pre_stop=self._prober.stop,
        )

    async def run(self, stop: asyncio.Event) -> None:
        await self._tenancy.begin()
        try:
            await self._work(stop)
        finally:
            await self._tenancy.end()

    async def _work(self, stop: asyncio.Event) -> None:
        self._keeper.adopt(self._bus.clock.now(), self._owner)
        watch = await self._bus.store("OBJECTS").watch(key(KIND))
        heard = await self._bus.signals.subscribe(self._bus.subjects.load_filter(), self._readiness.hear)
        try:
            self._objects.begin(watch)
            self._keeper.forget_pods(self._objects.mine())
            self._prober.follow(self._objects.mine(), self._keeper.states)  # an adopted life may still be starting
            logger.info("node %s runs %d pods", self._settings.name, len(self._objects.mine()))
            async with asyncio.TaskGroup() as tasks:
                loops = [
                    tasks.create_task(self._objects.follow(watch), name="follow"),
                    tasks.create_task(self._keep(), name="keep"),
                    tasks.create_task(self._report(), name="report"),
                    tasks.create_task(self._tenancy.keep(), name="lease"),
                ]
                await stop.wait()
                if self._settings.stop_pods_on_exit:
                    await self._end_all()  # which this node still reports, and under its name
                for task in loops:
                    task.cancel()
        finally:
            await self._prober.close()
            self._processes.let_go()
            await heard.close()
            await watch.close()

    async def _keep(self) -> None:
        while True:
            self._turn()
            await self._bus.clock.sleep(self._settings.poll_s)

    def _turn(self) -> None:
        if not self._is_ending:  # else `_end_all` takes the turns: this one would start what has ended
            mine = self._objects.mine()
            self._removable = self._keeper.turn(mine, self._bus.clock.now(), self._prober.seen())
            self._prober.follow(mine, self._keeper.states)
        self._dirty.set()

    def _surroundings_of_a_check(self, pod: Pod, container: Container) -> Surroundings:
        """Of a life that no record has: should this node be killed, its successor ends what is left of the check."""
        return self._keeper.surroundings(pod, container, f"{self._owner}check")

    def _on_post_started(self, id: ContainerId, life: str) -> None:
        self._keeper.has_post_started(id, life)

    def _on_container_changed(self, pod: PodId) -> None:
        self._readiness.forget(pod)
        self._dirty.set()

    async def _report(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._report_once()
            except BusError as error:
                logger.warning("the state of the pods could not be reported, next try soon: %s", error)
                await self._bus.clock.sleep(REPORT_RETRY_S)
                self._dirty.set()

    async def _report_once(self) -> None:
        async with self._reporting:
            await self._report_all()

    async def _report_all(self) -> None:
        for id in () if self._is_ending else self._objects.unclaimed():
            await self._apart(id, self._objects.claim(id))
        for id, seen in self._objects.refused():
            await self._apart(id, self._report_refused(id, seen))
        for id, pod in self._objects.mine().items():
            await self._apart(id, self._report_mine(id, pod))

    async def _apart(self, id: PodId, work: Awaitable[None]) -> None:
        """What goes wrong with one Pod keeps no other from being told of. It is tried again, and logged once. Raises
        BusError for what concerns all."""
        try:
            await work
            self._untold.pop(id, None)
        except Exception as error:
            if isinstance(error, BusError) and not isinstance(error, Malformed | TooLarge):
                raise
            if self._untold.get(id) != str(error):
                logger.exception("the state of pod %s cannot be reported", id)
            self._untold[id] = str(error)

    async def _report_refused(self, id: PodId, seen: Seen) -> None:
        if seen.metadata.get("deletionTimestamp"):
            await self._objects.remove(id)
        else:
            await self._objects.report(id, refusal_status(seen.document, seen.refusal, self._bus.clock.now()))

    async def _report_mine(self, id: PodId, pod: Pod) -> None:
        if id in self._removable:
            await self._objects.remove(id)
        else:
            await self._objects.report(id, self._status(pod))

    def _status(self, pod: Pod) -> dict[str, object]:
        states, seen = self._keeper.states, self._prober.seen()
        is_heard = self._readiness.is_heard(pod.id) or not pod.has_agent
        is_ready = not pod.is_deleting and is_heard and all_ready(pod, states, seen)
        return pod_status(pod, states, is_ready, self._backoff, self._bus.clock.now(), seen=seen)

    async def _end_all(self) -> None:
        self._is_ending = True
        clock, limit_s = self._bus.clock, self._settings.exit_grace_s
        while not self._keeper.exit_turn(self._objects.mine(), limit_s, clock.now(), self._prober.seen()):
            self._prober.follow(self._objects.mine(), self._keeper.states)
            await clock.sleep(min(self._settings.poll_s, 0.05))
        try:
            if self._bus.link.is_up():
                await self._report_once()
        except BusError as error:
            logger.warning("the end of the pods could not be reported: %s", error)
        self._keeper.forget_stopped()


def machine_of(settings: NodeSettings, bus: Bus) -> Machine:
    """What this process hands on to the containers it starts."""
    environment = dict(os.environ)
    return Machine(
        node=settings.name,
        python=sys.executable,
        environment=environment,
        bus_url=settings.agent_bus_url or environment.get("MATRIXINFER_BUS_URL", ""),
        bus_prefix=bus.subjects.prefix,
    )
