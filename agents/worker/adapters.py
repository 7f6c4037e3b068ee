"""The LoRA adapters of this pod: what SERVING says it shall have is fetched, loaded, and what is more, unloaded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from matrixinfer.agents.engines.errors import EngineError
from matrixinfer.agents.engines.port import AdapterLoader, Engine
from matrixinfer.agents.weights.errors import WeightsError
from matrixinfer.agents.worker.identity import Identity
from matrixinfer.bus.background import within
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.serving import PodAdapters
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.bus.ports.store import Entry, Watch
from matrixinfer.bus.subjects import key

log = logging.getLogger("matrixinfer.agents.worker.adapters")

AGAIN_AFTER_S = 5.0
LONGEST_PAUSE_S = 300.0

Fetch = Callable[[str], Awaitable[Path]]
"""The weights at an address become a file or folder here. Raises WeightsError."""


async def nowhere(url: str) -> Path:
    """Of a worker that was given no way to fetch weights."""
    raise WeightsError(f"{url}: this worker fetches no weights")


class Adapters:
    """`on_change` is told when the engine has other adapters than before. One that cannot be loaded keeps no other from
    it, and is tried again, less and less often."""

    def __init__(
        self, bus: Bus, identity: Identity, engine: Engine, fetch: Fetch, on_change: Callable[[], Awaitable[None]]
    ) -> None:
        self._bus = bus
        self._identity = identity
        self._engine = engine
        self._fetch = fetch
        self._on_change = on_change
        self._loaded: dict[str, str] = {}
        """Name and where it came from: one of the same name from elsewhere is another adapter."""
        self._wanted: dict[str, dict[str, str]] = {}
        """By the key of the entry."""
        self._is_changed = asyncio.Event()

    async def run(self) -> None:
        """Follow SERVING until cancelled."""
        prefix = key("adapters", self._identity.namespace, self._identity.pod)
        watch = await self._watch(prefix)
        try:
            for name, entry in watch.snapshot.items():
                self._note(name, entry)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(watch))
                group.create_task(self._settle())
        finally:
            await watch.close()

    async def _watch(self, prefix: str) -> Watch:
        while True:
            try:
                return await self._bus.store("SERVING").watch(prefix)
            except BusError as error:
                log.warning("adapters cannot be followed yet: %s", error)
                await self._bus.clock.sleep(AGAIN_AFTER_S)

    async def _follow(self, watch: Watch) -> None:
        async for change in watch:
            self._note(change.key, change.entry)

    def _note(self, name: str, entry: Entry | None) -> None:
        if entry is None:
            self._wanted.pop(name, None)
        else:
            try:
                self._wanted[name] = decode(entry.value, PodAdapters).adapters
            except Malformed as error:  # what was there before still counts
                log.error("%s in SERVING cannot be read and is ignored: %s", name, error)
        self._is_changed.set()

    async def _settle(self) -> None:
        """Bring the engine to what is wanted; again at a change, and after a pause while something failed."""
        pause_s = AGAIN_AFTER_S
        while True:
            self._is_changed.clear()
            if await self._bring_about():
                pause_s = AGAIN_AFTER_S
                await self._is_changed.wait()
            elif await within(self._bus.clock, pause_s, self._changed(), "adapters-changed"):
                pause_s = AGAIN_AFTER_S
            else:
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _changed(self) -> None:
        await self._is_changed.wait()

    async def _bring_about(self) -> bool:
        """True when the engine has just what is wanted."""
        wanted = {name: url for adapters in self._wanted.values() for name, url in adapters.items()}
        for name in [name for name, url in self._loaded.items() if wanted.get(name) != url]:
            await self._unload(name)
        for name, url in wanted.items():
            if name not in self._loaded:
                await self._load(name, url)
        return self._loaded == wanted

    async def _load(self, name: str, url: str) -> None:
        if not isinstance(self._engine, AdapterLoader):
            log.error("adapter %s is not loaded: this engine takes none", name)
            return
        try:
            path = await self._fetch(url)
            await self._engine.load_adapter(name, str(path))
        except (WeightsError, EngineError) as error:
            log.error("adapter %s is not loaded, and is tried again: %s", name, error)
            return
        except Exception:  # the adapter's defect, or ours: the pod goes on with what it has
            log.exception("adapter %s is not loaded, and is tried again", name)
            return
        self._loaded[name] = url
        log.info("adapter %s is loaded from %s", name, url)
        await self._on_change()

    async def _unload(self, name: str) -> None:
        if isinstance(self._engine, AdapterLoader):
            try:
                await self._engine.unload_adapter(name)
            except EngineError as error:
                log.error("adapter %s is not unloaded, and is tried again: %s", name, error)
                return
        del self._loaded[name]
        log.info("adapter %s is unloaded", name)
        await self._on_change()
