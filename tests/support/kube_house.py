"""Handlers processes on a real API server, with a kubelet that pretends and agents that are idle."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from urllib.error import HTTPError

from matrixinfer.bus.background import end
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.serving import PoolPod
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.bus.settings import BusSettings
from matrixinfer.handlers.main import serve
from matrixinfer.handlers.settings import HandlersSettings
from support.idle_agents import speak_for_idle_agents
from support.kube import ControlPlane
from support.kubelet import Kubelet

RESYNC_S = 0.5
BESIDE = ("pods", "events", "services", "podgroups")
REQUESTS = re.compile(r"^apiserver_request_total\{(.*)\} (\d+)$", re.MULTILINE)


class House:
    """Two handlers processes as tasks, on one bus and one API server."""

    def __init__(self, plane: ControlPlane, bus: Bus, kubelet: Kubelet) -> None:
        self.plane = plane
        self.bus = bus
        self.kubelet = kubelet

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return await asyncio.to_thread(self.plane.ask, method, path, body)

    async def replace_spec(self, path: str, spec: dict[str, Any]) -> None:
        """As an editor does: with the version that was read, again when somebody else was faster."""
        while True:
            try:
                await self.ask("PUT", path, await self.ask("GET", path) | {"spec": spec})
            except HTTPError as error:
                if error.code != 409:
                    raise
                continue
            return

    async def requests(self) -> Counter[str]:
        """What the API server was ever asked about our kinds and what is made of them, by verb and resource, without
        watches."""
        counted: Counter[str] = Counter()
        ports = [self.plane.port, *([self.plane.crd_port] if self.plane.knows_cel else [])]
        for port in ports:
            metrics = await asyncio.to_thread(self.plane.ask, "GET", "/metrics", port=port)
            for labels, count in REQUESTS.findall(metrics["text"]):
                found = dict(re.findall(r'(\w+)="([^"]*)"', labels))
                is_ours = found["group"] == "matrixinfer.ai" or found["resource"] in BESIDE
                if is_ours and found["verb"] != "WATCH":
                    counted[f"{found['verb']} {found['resource']}"] += int(float(count))
        return counted

    async def pods(self) -> list[str]:
        found = await self.ask("GET", "/api/v1/namespaces/default/pods")
        return sorted(pod["metadata"]["name"] for pod in found["items"])

    async def pool(self) -> list[str]:
        entries = await self.bus.store("SERVING").entries("pod")
        return sorted(decode(entry.value, PoolPod).pod for entry in entries.values())

    async def serves(self, count: int) -> bool:
        pods = await self.pods()
        return len(pods) == count and await self.pool() == pods

    async def is_empty(self) -> bool:
        kinds = ("models", "modelservers", "modelroutes", "modelinfers")
        lists = [await self.ask("GET", f"/apis/matrixinfer.ai/v1alpha1/{kind}") for kind in kinds]
        left = [found for one in lists for found in one["items"]]
        return not left and not await self.pods() and not await self.bus.store("SERVING").entries()


@contextlib.asynccontextmanager
async def running(control_plane: ControlPlane) -> AsyncIterator[House]:
    """On an API server without objects."""
    await asyncio.to_thread(control_plane.empty)
    config = str(control_plane.kubeconfig)
    settings = HandlersSettings(
        roles=frozenset({"reconcile"}), cluster="kubernetes", kubeconfig=config, resync_s=RESYNC_S
    )
    broker, stop = MemoryBroker(SystemClock()), asyncio.Event()
    kubelet = Kubelet(config)
    pretending = asyncio.create_task(kubelet.run())
    agents = asyncio.create_task(speak_for_idle_agents(broker.connect()))
    processes = [asyncio.create_task(serve(settings, broker.connect(), BusSettings(), stop)) for _ in range(2)]
    try:
        yield House(control_plane, broker.connect(), kubelet)
        assert not any(task.done() for task in (pretending, agents, *processes))
    finally:
        stop.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*processes)
        await end([pretending, agents])
