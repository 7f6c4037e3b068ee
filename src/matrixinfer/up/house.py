"""The platform on this machine: what is started in which order, watched, and stopped in the opposite one."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from matrixinfer.agents.node.settings import NodeSettings
from matrixinfer.agents.settings import AgentSettings
from matrixinfer.agents.weights import fetch
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.cluster_client import ClusterClient
from matrixinfer.bus.errors import Unavailable
from matrixinfer.bus.jetstream import connect
from matrixinfer.bus.server import EmbeddedServer
from matrixinfer.bus.settings import BusSettings
from matrixinfer.bus.topology import Part
from matrixinfer.up import applied, manifests, milestones
from matrixinfer.up.child import Child
from matrixinfer.up.display import Display
from matrixinfer.up.errors import NoServer
from matrixinfer.up.neighbours import make_sure_of_none
from matrixinfer.up.options import Options
from matrixinfer.up.parts import Ports, part_specs

logger = logging.getLogger("matrixinfer.up.house")

SERVER_STOP_S = 1.5


class House:
    """One platform. `on_bus` is told the operator's address of the bus as soon as it can be used."""

    def __init__(
        self, options: Options, ports: Ports, display: Display, clock: Clock, *, on_bus: Callable[[str], None]
    ) -> None:
        host = f"http://{_reachable(options.host)}"
        self.url = f"{host}:{ports.door}"
        self.worker_urls = [f"{host}:{port}" for port in ports.metrics] or [self.url]
        """Where each gateway alone is asked for its metrics and health."""
        self.bus_url = options.nats_url or ""
        self.models = manifests.served_models(options.manifest)
        self._options = options
        self._ports = ports
        self._display = display
        self._clock = clock
        self._on_bus = on_bus
        self._server: EmbeddedServer | None = None
        self._bus: Bus | None = None
        self._children: list[Child] = []
        self._watching: list[asyncio.Task[None]] = []
        self._part_died = asyncio.Event()

    @property
    def logs(self) -> Path:
        return self._options.data_dir / "logs"

    async def start(self) -> None:
        """Returns when the platform serves. Raises UpError, BusError, NodeError or AgentError with what is wrong."""
        fetching = asyncio.create_task(self._fetch_weights(), name="fetch weights")
        try:
            await self._start_parts(await self._start_bus())
            await fetching
            await self._serve_models()
        finally:
            fetching.cancel()
            await asyncio.wait([fetching])
        for child in self._children:
            child.is_settled = True

    async def watch(self) -> None:
        """Until a part cannot be kept running: raises what it raised."""
        await self._part_died.wait()
        for task in self._watching:
            if task.done():
                await task

    async def stop(self) -> None:
        """Gateways, node with its pods, handlers, server; within ten seconds."""
        if self._bus is not None:
            await self._bus.link.close()
        for group in ("gateway", "node", "handlers"):
            await asyncio.gather(*(child.stop() for child in self._children if child.spec.name.startswith(group)))
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        await self._stop_server()

    def kill(self) -> None:
        """Now. What this misses is the reaper's."""
        for child in self._children:
            child.kill()
        _kill(self._server.pid if self._server is not None else None)

    # -- the steps of the start
    async def _start_bus(self) -> Bus:
        with self._display.step("bus") as step:
            if not self.bus_url:
                self._server = EmbeddedServer(self._options.data_dir / "nats", clock=self._clock)
                await self._server.start()
                self.bus_url = self._server.url(Part.OPERATOR)
            self._bus = await self._connect()
            if self._server is None:
                node = NodeSettings()
                await make_sure_of_none(self._bus, node.name, node.lease_ttl_s, self._options.data_dir, step.say)
            self._on_bus(self.bus_url)
            step.say(self.bus_url.rpartition("@")[2].removeprefix("nats://"))
        return self._bus

    async def _connect(self) -> Bus:
        try:
            return await connect(BusSettings(url=self.bus_url, name="up"), self._clock)
        except Unavailable as error:
            if self._server is None:
                raise NoServer(f"{error}; or leave out --nats") from error
            raise

    async def _start_parts(self, bus: Bus) -> None:
        data_dir = self._options.data_dir
        for spec in part_specs(self._options, self._ports, self._url_of):
            child = Child(spec, data_dir, self._clock, self._display.say)
            self._children.append(child)
            watching = asyncio.create_task(child.run(), name=spec.name)
            watching.add_done_callback(lambda _: self._part_died.set())
            self._watching.append(watching)
        with self._display.step("handlers"):
            await milestones.door_opens(bus)
        with self._display.step("gateway") as step:
            for url in self.worker_urls:
                await milestones.gateway_listens(url, self._clock)
            step.say(self.url)

    async def _fetch_weights(self) -> None:
        cache_dir = AgentSettings().cache_dir
        for uri in manifests.weights(self._options.manifest):
            with self._display.step("model weights") as step:
                path = await fetch(uri, cache_dir, step.progress)
                step.say(path.name)

    async def _serve_models(self) -> None:
        bus, wanted = self._bus, manifests.wanted_pods(self._options.manifest)
        assert bus is not None
        with self._display.step("node"):
            await applied.apply(ClusterClient(bus), self._options.manifest, self._options.data_dir)
            await milestones.pods_claimed(bus, wanted)
        with self._display.step("engine") as step:
            await milestones.pods_ready(bus, wanted, self.logs / "pods", step.say)
        with self._display.step("first answer") as step:
            await milestones.models_listed(self.url, self.models, self._clock)
            for model in self.models[:1]:
                await milestones.first_answer(self.url, model)
                step.say(model)

    def _url_of(self, part: Part) -> str:
        return self._server.url(part) if self._server is not None else self.bus_url

    async def _stop_server(self) -> None:
        server = self._server
        if server is None:
            return
        pid = server.pid
        try:
            async with asyncio.timeout(SERVER_STOP_S):
                await server.stop()
        except TimeoutError:
            logger.warning("nats-server did not end within %g s and is killed", SERVER_STOP_S)
            _kill(pid)


def _kill(pid: int | None) -> None:
    """None is a process that never ran, or has ended; to the system a 0 would mean this process and its group."""
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _reachable(host: str) -> str:
    """How this machine reaches what listens on `host`."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1" if host == "0.0.0.0" else "[::1]"
    return f"[{host}]" if ":" in host else host
