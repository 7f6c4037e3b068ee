"""Asks the containers that have probes, each life in a task of its own, and runs what shall be done before it stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from matrixinfer.agents.node.asking import ask
from matrixinfer.agents.node.errors import NodeError
from matrixinfer.agents.node.plan import Seen, States
from matrixinfer.agents.node.pods import Container, ContainerId, Pod, PodId
from matrixinfer.agents.node.probes import (
    BEFORE_POST_START,
    Health,
    Probe,
    Tally,
    after_liveness,
    after_readiness,
    after_startup,
    at_first,
    counted,
)
from matrixinfer.agents.node.shapes import all_once_told, once_told
from matrixinfer.agents.node.states import ContainerState
from matrixinfer.agents.node.status import timestamp
from matrixinfer.agents.node.surroundings import Surroundings
from matrixinfer.bus.background import end, spawn
from matrixinfer.bus.clock import Clock

logger = logging.getLogger("matrixinfer.agents.node.prober")

Around = Callable[[Pod, Container], Surroundings]
"""Raises NodeError."""


class Prober:
    """`on_change` is called when the health of a life has changed, or its preStop has ended; `on_post_started` when the
    postStart of a container's life has run. Costs nothing for containers without probes."""

    def __init__(
        self,
        clock: Clock,
        around: Around,
        *,
        on_change: Callable[[], None],
        on_post_started: Callable[[ContainerId, str], None],
    ) -> None:
        self._clock = clock
        self._around = around
        self._on_change = on_change
        self._on_post_started = on_post_started
        self._health: dict[str, Health] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stops: dict[str, asyncio.Task[None]] = {}
        self._left: set[asyncio.Task[None]] = set()

    def seen(self) -> Seen:
        return Seen(dict(self._health), frozenset(life for life, task in self._stops.items() if not task.done()))

    def follow(self, pods: Mapping[PodId, Pod], states: States) -> None:
        """Begin with lives that are new, and leave those that have ended or are asked to. A preStop ends with its
        container at the latest."""
        probed: set[str] = set()
        for pod in pods.values():
            for one in pod.all_containers:
                state = states.get(ContainerId(pod.id, one.name))
                if state is None or state.process is None or state.uid != pod.uid or state.stop_asked_s is not None:
                    continue
                probed.add(state.life)
                if state.life not in self._tasks and (one.probes or one.post_start):
                    self._begin(pod, one, state)
        for life in self._tasks.keys() - probed:
            self._leave(self._tasks.pop(life))
            self._health.pop(life, None)
        alive = {state.life for state in states.values() if state.process is not None}
        for life in self._stops.keys() - alive:
            self._leave(self._stops.pop(life))

    def stop(self, pod: Pod, container: Container, life: str) -> bool:
        """Run its preStop; False when there is none."""
        if container.pre_stop is None:
            return False
        self._stops[life] = spawn(self._stop(pod, container, life), f"preStop of {pod.id}/{container.name}")
        return True

    def _begin(self, pod: Pod, container: Container, state: ContainerState) -> None:
        life, has_begun = state.life, container.post_start is None or state.has_post_started
        self._health[life] = health_told(pod, container, state) if has_begun else BEFORE_POST_START
        watching = self._watch(pod, container, life, has_begun=has_begun)
        self._tasks[life] = spawn(watching, f"probes of {pod.id}/{container.name}")

    async def close(self) -> None:
        await end([*self._tasks.values(), *self._stops.values()])
        if self._left:
            await asyncio.wait(self._left)

    def _leave(self, task: asyncio.Task[None]) -> None:
        """It still has to end what it has begun, which the node's own end waits for."""
        task.cancel()
        self._left.add(task)
        task.add_done_callback(self._left.discard)

    async def _stop(self, pod: Pod, container: Container, life: str) -> None:
        assert container.pre_stop is not None
        try:
            why = await ask(container.pre_stop, self._around(pod, container), pod.grace_s)
        except NodeError as error:
            why = str(error)
        if why:
            logger.warning("preStop of %s/%s: %s", pod.id, container.name, why)
        self._stops.pop(life, None)  # before the turn that shall see it done
        self._on_change()

    async def _watch(self, pod: Pod, container: Container, life: str, *, has_begun: bool) -> None:
        try:
            around = self._around(pod, container)
        except NodeError as error:  # it runs, so that this was right a moment ago
            logger.warning("%s/%s cannot be probed: %s", pod.id, container.name, error)
            self._say(life, replace(self._health[life], why=f"it cannot be probed: {error}"))
            return
        probes = container.probes
        if not has_begun and not await self._post_start(pod, container, life, around):
            return
        if probes.startup is not None and not self._health[life].started:
            await self._until_started(life, probes.startup, container, around)
        async with asyncio.TaskGroup() as group:
            if probes.readiness is not None:
                group.create_task(self._repeat(life, probes.readiness, around, after_readiness))
            if probes.liveness is not None:
                group.create_task(self._repeat(life, probes.liveness, around, after_liveness))

    async def _post_start(self, pod: Pod, container: Container, life: str, around: Surroundings) -> bool:
        """Does it go on? As long as it takes, which Kubernetes does not bound either: the container can be ended."""
        assert container.post_start is not None
        why = await ask(container.post_start, around, None)
        if why:
            self._say(life, Health(started=False, ready=False, failing=True, why=f"postStart: {why}"))
            return False
        self._on_post_started(ContainerId(pod.id, container.name), life)
        self._say(life, at_first(container.probes))
        return True

    async def _until_started(self, life: str, probe: Probe, container: Container, around: Surroundings) -> None:
        tally = Tally()
        await self._clock.sleep(probe.delay_s)
        while not self._health[life].started:
            why = await ask(probe.check, around, probe.timeout_s)
            tally = counted(tally, not why)
            self._say(life, after_startup(container.probes, tally, self._health[life], why))
            if why:
                await self._clock.sleep(probe.period_s)

    async def _repeat(
        self, life: str, probe: Probe, around: Surroundings, after: Callable[[Probe, Tally, Health, str], Health]
    ) -> None:
        tally = Tally()
        await self._clock.sleep(probe.delay_s)
        while True:
            why = await ask(probe.check, around, probe.timeout_s)
            tally = counted(tally, not why)
            self._say(life, after(probe, tally, self._health[life], why))
            await self._clock.sleep(probe.period_s)

    def _say(self, life: str, health: Health) -> None:
        if health != self._health.get(life):
            self._health[life] = health
            self._on_change()


def health_told(pod: Pod, container: Container, state: ContainerState) -> Health:
    """What the status of the Pod says of this very life: a node that starts again need not find everything unready.
    Restarts alone do not name it, for what a node took along counts them anew."""
    status = once_told(pod.document.get("status"))
    told = [*all_once_told(status.get("containerStatuses")), *all_once_told(status.get("initContainerStatuses"))]
    life = (container.name, state.restarts, timestamp(state.started_s))
    for one in told:
        running = once_told(once_told(one.get("state")).get("running"))
        if (one.get("name"), one.get("restartCount"), running.get("startedAt")) == life:
            was_started, was_ready = one.get("started") is True, one.get("ready") is True
            return at_first(container.probes, was_started=was_started, was_ready=was_ready)
    return at_first(container.probes)
