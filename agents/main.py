"""One agent process: weights, engine, worker, from the first to the last."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from matrixinfer.agents.engines import registry
from matrixinfer.agents.engines.port import Engine, EngineInfo
from matrixinfer.agents.errors import NoSlots
from matrixinfer.agents.progress import Progress
from matrixinfer.agents.settings import AgentSettings
from matrixinfer.agents.signs import Signs
from matrixinfer.agents.weights import fetch
from matrixinfer.agents.worker.identity import Identity
from matrixinfer.agents.worker.periodic import first_of
from matrixinfer.agents.worker.worker import Worker
from matrixinfer.bus.background import end, spawn
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.ids import new_boot_id

log = logging.getLogger("matrixinfer.agents.main")


async def serve(settings: AgentSettings, bus: Bus, stop: asyncio.Event) -> None:
    """Serve until `stop` is set and what ran is finished, or `drain_s` is over.

    Raises EngineError, AgentError or what fetching the weights raises when the start fails. The bus stays open.
    """
    signs = Signs(settings.signs_dir)
    signs.remove()
    telling = spawn(signs.tell_of(stop), "sign of stopping")
    try:
        await _serve(settings, bus, stop)
    finally:
        await end([telling])
        signs.finished()


async def _serve(settings: AgentSettings, bus: Bus, stop: asyncio.Event) -> None:
    identity = Identity(settings.namespace, settings.pod, new_boot_id())
    started: list[tuple[Engine, EngineInfo]] = []

    async def begin() -> None:
        started.append(await _start(settings))

    await first_of(begin(), stop.wait())
    if not started:
        log.info("pod %s was stopped before its engine had started", settings.pod)
        return
    engine, info = started[0]
    try:
        await _worker(settings, identity, bus, engine, info).run(stop)
    finally:
        await engine.close()
    log.info("pod %s has left", settings.pod)


async def _start(settings: AgentSettings) -> tuple[Engine, EngineInfo]:
    model_path = ""
    if settings.model_uri:
        model_path = str(await fetch(settings.model_uri, settings.cache_dir, Progress(settings.model_uri)))
    engine = registry.create(settings.engine, model_path, settings.model_name, settings.engine_config)
    try:
        info = await engine.start()
        if info.slots < 1:
            raise NoSlots(f"engine {info.engine} offers {info.slots} slots: expected at least 1; see its configuration")
    except BaseException:  # also when the start was cancelled: what it has loaded must go
        await engine.close()
        raise
    return engine, info


def _worker(settings: AgentSettings, identity: Identity, bus: Bus, engine: Engine, info: EngineInfo) -> Worker:
    async def fetched(url: str) -> Path:
        return await fetch(url, settings.cache_dir, Progress(url))

    return Worker(
        identity,
        bus,
        engine,
        info,
        served_model=settings.model_name,
        drain_s=settings.drain_s,
        replay_bytes=settings.replay_bytes,
        fetch=fetched,
    )
