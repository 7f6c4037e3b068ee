"""The processes under test, pinned as the budgets ask: gateway, dispatch, nats-server on core 0, all else on core 1."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import psutil

from bench.load_shape import ENGINE_CONFIG, MODEL
from bench.three_servers import COUNT, ThreeServers
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.serving import Pool, PoolPod, Route, Rule, Target, pod_key, pool_key, route_key
from matrixinfer.bus.jetstream import connect
from matrixinfer.bus.server import EmbeddedServer
from matrixinfer.bus.server.record import free_port
from matrixinfer.bus.settings import BusSettings
from matrixinfer.bus.topology import Part
from support.eventually import eventually

PLATFORM_CORE, LOAD_CORE = 0, 1
NAMESPACE = "bench"


@dataclass
class Rig:
    """`async with Rig(dir) as rig:` serves model `bench` at `rig.port`, and the engine alone at `rig.direct_port`."""

    data_dir: Path
    agents: int = 1
    three_servers: bool = False
    """Three nats-servers on both cores, three copies of each stream, instead of one server on core 0."""
    port: int = field(default_factory=free_port)
    direct_port: int = field(default_factory=free_port)
    pids: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._children: list[subprocess.Popen[bytes]] = []
        nats = self.data_dir / "nats"
        self._server = ThreeServers(nats) if self.three_servers else EmbeddedServer(nats)
        self._replicas = COUNT if self.three_servers else 1
        self._bus: Bus | None = None

    async def __aenter__(self) -> Rig:
        psutil.Process().cpu_affinity([LOAD_CORE])
        try:
            await self._start_all()
        except BaseException:
            await self._stop_all()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop_all()

    async def _start_all(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        await self._server.start()
        self._note_servers()
        settings = BusSettings(url=self._server.url(Part.OPERATOR), name="bench", replicas=self._replicas)
        self._bus = await connect(settings, SystemClock())
        await self._write_contracts(self._bus)
        self._start_platform()
        await self._wait_until_served()

    def _note_servers(self) -> None:
        if isinstance(self._server, ThreeServers):
            self.pids |= {
                ("nats-server" if i == 0 else f"nats-server-{i}"): pid for i, pid in enumerate(self._server.pids)
            }
            return
        pid = self._server.pid
        assert pid is not None
        self.pids["nats-server"] = pid
        psutil.Process(pid).cpu_affinity([PLATFORM_CORE])

    async def _stop_all(self) -> None:
        for child in self._children:  # in the order of their start: the gateway drains while the others still serve
            child.terminate()
            await asyncio.to_thread(child.wait, 60)
        if self._bus is not None:
            await self._bus.link.close()
        await self._server.stop()

    def _start_platform(self) -> None:
        gateway = {"MATRIXINFER_GATEWAY_PORT": str(self.port)}
        self._start("gateway", Part.GATEWAY, PLATFORM_CORE, ["gateway"], gateway)
        self._start("dispatcher", Part.HANDLERS, PLATFORM_CORE, ["handlers", "--only", "dispatch"], {})
        for index in range(self.agents):
            agent = {
                "MATRIXINFER_AGENT_NAMESPACE": NAMESPACE,
                "MATRIXINFER_AGENT_POD": f"pod-{index}",
                "MATRIXINFER_AGENT_ENGINE": "Simulated",
                "MATRIXINFER_AGENT_SERVED_MODEL": MODEL,
                "MATRIXINFER_AGENT_ENGINE_CONFIG": json.dumps(ENGINE_CONFIG),
            }
            self._start("agent" if index == 0 else f"agent-{index}", Part.AGENT, LOAD_CORE, ["agent"], agent)
        self._spawn("direct", PLATFORM_CORE, [sys.executable, "-m", "bench.direct", str(self.direct_port)], {})

    def _start(self, name: str, part: Part, core: int, words: list[str], environment: dict[str, str]) -> None:
        bus = {"MATRIXINFER_BUS_URL": self._server.url(part), "MATRIXINFER_BUS_REPLICAS": str(self._replicas)}
        self._spawn(name, core, [sys.executable, "-m", "matrixinfer", *words], environment | bus)

    def _spawn(self, name: str, core: int, command: list[str], environment: dict[str, str]) -> None:
        log = (self.data_dir / f"{name}.log").open("wb")
        child = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log)
        psutil.Process(child.pid).cpu_affinity([core])
        self._children.append(child)
        self.pids[name] = child.pid

    async def _write_contracts(self, bus: Bus) -> None:
        store = bus.store("SERVING")
        await store.put(pool_key(NAMESPACE, MODEL), encode(Pool(NAMESPACE, MODEL, "Simulated")))
        for index in range(self.agents):
            pod = PoolPod(NAMESPACE, MODEL, f"pod-{index}")
            await store.put(pod_key(NAMESPACE, MODEL, pod.pod), encode(pod))
        route = Route(NAMESPACE, MODEL, MODEL, [Rule([Target(MODEL)])])
        await store.put(route_key(NAMESPACE, MODEL), encode(route))

    async def _wait_until_served(self) -> None:
        for port in (self.port, self.direct_port):
            await eventually(lambda port=port: _answers(port), timeout_s=30)


async def _answers(port: int) -> bool:
    """True once a chat completion comes back with 200."""
    import httpx  # only here: the load itself must not pay for it

    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    try:
        async with httpx.AsyncClient(timeout=5) as client:
            answer = await client.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200
