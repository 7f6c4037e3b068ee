"""Builds a handlers process out of the roles it was asked for, and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Coroutine

from matrixinfer.bus.background import end
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.errors import Misconfigured
from matrixinfer.bus.settings import BusSettings
from matrixinfer.handlers.cluster.door import Door
from matrixinfer.handlers.cluster.local.adapter import LocalCluster
from matrixinfer.handlers.cluster.local.garbage import GarbageCollector
from matrixinfer.handlers.cluster.port import Cluster
from matrixinfer.handlers.errors import HandlerError
from matrixinfer.handlers.reconcile.consume import reconcile_app
from matrixinfer.handlers.reconcile.loads import LoadWatch, look_at_leaving
from matrixinfer.handlers.reconcile.loop import Loop
from matrixinfer.handlers.reconcile.podplugins.registry import installed
from matrixinfer.handlers.reconcile.suspicions import SuspicionWatch
from matrixinfer.handlers.reconcile.triggers import Key
from matrixinfer.handlers.reconcile.watch import RESYNC, Watcher
from matrixinfer.handlers.settings import HandlersSettings

logger = logging.getLogger("matrixinfer.handlers.main")

Jobs = dict[str, Coroutine[None, None, None]]


async def serve(settings: HandlersSettings, bus: Bus, bus_settings: BusSettings, stop: asyncio.Event) -> None:
    """Returns after a clean end that `stop` asked for. Anything that ends by itself ends the whole with its error (an
    ExceptionGroup), so that whoever started the process starts it again."""
    if "admission" in settings.roles and settings.cluster != "kubernetes":
        raise Misconfigured(
            "the role admission answers a Kubernetes API server; expected MATRIXINFER_HANDLERS_CLUSTER=kubernetes"
        )
    jobs: Jobs = {}
    if settings.roles & {"cluster", "reconcile"}:
        jobs |= await _control_plane(settings, bus, bus_settings)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_endless(name, job, stop), name=name) for name, job in jobs.items()]
        if "admission" in settings.roles:
            group.create_task(_endless("admission", _admission(settings, bus.clock, stop), stop), name="admission")
        if "dispatch" in settings.roles:
            group.create_task(_endless("dispatch", _dispatch(bus, stop), stop), name="dispatch")
        logger.info("handlers serve: %s", ", ".join(sorted(settings.roles)))
        await stop.wait()
        await end(tasks)


async def _control_plane(settings: HandlersSettings, bus: Bus, bus_settings: BusSettings) -> Jobs:
    cluster, jobs = await _cluster(settings, bus)
    if "reconcile" in settings.roles:
        watcher = Watcher(bus, cluster, resync_s=settings.resync_s)
        suspicions = SuspicionWatch(bus, watcher.look_at, watcher.look_at_everything)
        loads = LoadWatch(bus, functools.partial(look_at_leaving, cluster, watcher.look_at))
        serving = bus.store("SERVING")
        loop = Loop(
            cluster, serving, bus.clock, suspicions.of, loads.of, platform=settings.platform, plugins=installed()
        )
        jobs["reconcile watch"] = watcher.run()
        jobs["suspicion watch"] = suspicions.run()
        jobs["load watch"] = loads.run()

        async def reconcile(key: Key) -> None:
            if key == RESYNC:
                raise watcher.on_resync()
            await loop.reconcile(key)

        jobs["reconcile app"] = reconcile_app(bus, bus_settings, reconcile).run()
    return jobs


async def _cluster(settings: HandlersSettings, bus: Bus) -> tuple[Cluster, Jobs]:
    """The cluster that was asked for, and what keeps it going. Kubernetes has its own door and garbage collector; the
    client's library is imported only for it."""
    if settings.cluster == "kubernetes":
        from matrixinfer.handlers.cluster.kubernetes.adapter import KubernetesCluster

        kubernetes = await KubernetesCluster.open(bus.clock, kubeconfig=settings.kubeconfig, context=settings.context)
        return kubernetes, {"cluster cache": kubernetes.run()}
    local = await LocalCluster.open(bus)
    jobs: Jobs = {"cluster cache": local.run()}
    if "cluster" in settings.roles:
        jobs["garbage collection"] = GarbageCollector(bus, local).run()
        jobs["cluster door"] = Door(bus, local).run()
    return local, jobs


def _dispatch(bus: Bus, stop: asyncio.Event) -> Coroutine[None, None, None]:
    """Imported where it is asked for: a process without the role does not carry it. Ends by `stop` itself."""
    from matrixinfer.handlers.dispatch import main as dispatch
    from matrixinfer.handlers.dispatch.settings import DispatchSettings

    return dispatch.run(DispatchSettings(), bus, stop)


def _admission(settings: HandlersSettings, clock: Clock, stop: asyncio.Event) -> Coroutine[None, None, None]:
    """Ends by `stop` itself; it is given no bus: keys and certificates have no business there."""
    from matrixinfer.handlers.admission import main as admission
    from matrixinfer.handlers.admission.settings import AdmissionSettings

    return admission.run(AdmissionSettings(), clock, stop, kubeconfig=settings.kubeconfig, context=settings.context)


async def _endless(name: str, job: Coroutine[None, None, None], stop: asyncio.Event) -> None:
    await job
    if not stop.is_set():
        raise HandlerError(f"{name} ended by itself; expected it to run until the process is told to stop")
