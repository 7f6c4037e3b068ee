"""Two handlers processes on a real nats-server, one of which is killed at any moment: nothing stays half done."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from matrixinfer.bus.background import end
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.cluster_client import ClusterClient
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.serving import PoolPod
from matrixinfer.bus.errors import BusError
from matrixinfer.bus.topology import Part
from support.eventually import eventually
from support.idle_agents import speak_for_idle_agents
from support.nats import RunningServer, connected, running_server
from support.pretend_node import PretendNode

NAMES = [f"m{number}" for number in range(6)]
ROUNDS = 6
SLOW_S = 60.0
RESYNC_S = 3.0
"""The net below the watches is part of what is tried: what a killed process alone had heard of is found by it."""


def manifest(name: str, replicas: int, image: str) -> str:
    template = {"spec": {"containers": [{"name": "c", "image": image}]}}
    rolling = {"rollingUpdateConfiguration": {"maxUnavailable": 1, "maxSurge": 1}}
    infer = {
        "replicas": replicas,
        "rolloutStrategy": rolling,
        "recovery": {"backoff": "100ms", "maxBackoff": "1s"},
        "template": {"roles": [{"name": "server", "entryTemplate": template}]},
    }
    selector = {"matchLabels": {"matrixinfer.ai/modelinfer": name}}
    server = {"inferenceEngine": "Simulated", "workloadSelector": selector}
    return "\n---\n".join(
        json.dumps({"apiVersion": "matrixinfer.ai/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
        for kind, spec in (("ModelInfer", infer), ("ModelServer", server))
    )


class Handlers:
    """Processes of their own, started again when they were killed."""

    def __init__(self, server: RunningServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._processes: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        environment = os.environ | {
            "MATRIXINFER_BUS_URL": self._server.url_of(Part.HANDLERS),
            "MATRIXINFER_HANDLERS_ROLES": "cluster,reconcile",
            "MATRIXINFER_HANDLERS_RESYNC_S": str(RESYNC_S),
        }
        log = (self._folder / f"handlers-{len(self._processes)}.log").open("wb")
        command = [sys.executable, "-m", "matrixinfer", "handlers"]
        self._processes.append(await asyncio.create_subprocess_exec(*command, env=environment, stdout=log, stderr=log))
        log.close()

    async def kill_one(self, rng: random.Random) -> None:
        victim = rng.choice([process for process in self._processes if process.returncode is None])
        victim.send_signal(signal.SIGKILL)
        await victim.wait()

    async def end(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.terminate()
        for process in self._processes:
            await process.wait()


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[tuple[Bus, Handlers]]:
    async with running_server(tmp_path / "nats") as server, connected(server.url) as bus:
        handlers = Handlers(server, tmp_path)
        node = asyncio.create_task(PretendNode(bus).run())
        agents = asyncio.create_task(speak_for_idle_agents(bus))
        try:
            for _ in range(2):
                await handlers.start()
            yield bus, handlers
        finally:
            await end([node, agents])
            await handlers.end()


async def applied(client: ClusterClient, text: str) -> None:
    """Again while nobody answers: who was asked may be the one that is killed."""
    while True:
        try:
            await client.apply(text)
            return
        except BusError:
            await asyncio.sleep(0.1)


async def found(bus: Bus, kind: str) -> list[dict[str, Any]]:
    """Any: objects as JSON."""
    entries = await bus.store("OBJECTS").entries(kind)
    return [json.loads(entry.value) for entry in entries.values()]


@pytest.mark.timeout(240)
async def test_whenever_one_is_killed_the_pods_and_pools_become_what_was_asked_and_nothing_else(bus):
    bus, handlers = bus
    rng, client = random.Random(7), ClusterClient(bus, timeout_s=5.0)
    wanted: dict[str, tuple[int, str]] = {}
    for round_ in range(ROUNDS):
        for name in NAMES:
            wanted[name] = rng.randint(0, 3), f"image-{rng.randint(0, round_)}"
        text = "\n---\n".join(manifest(name, *wanted[name]) for name in NAMES)
        applying = asyncio.create_task(applied(client, text))
        await asyncio.sleep(rng.uniform(0.0, 0.6))
        await handlers.kill_one(rng)
        await handlers.start()
        await applying

    async def is_as_asked() -> bool:
        pods = [pod for pod in await found(bus, "Pod") if "deletionTimestamp" not in pod["metadata"]]
        images = Counter(
            (pod["metadata"]["labels"]["matrixinfer.ai/modelinfer"], pod["spec"]["containers"][0]["image"])
            for pod in pods
        )
        if images != Counter({(name, image): count for name, (count, image) in wanted.items() if count}):
            return False
        entries = await bus.store("SERVING").entries("pod")
        members = Counter(decode(entry.value, PoolPod).modelserver for entry in entries.values())
        return members == Counter({name: count for name, (count, _) in wanted.items() if count})

    await eventually(is_as_asked, timeout_s=SLOW_S, every_s=0.1)

    async def tells_so() -> bool:
        infers = await found(bus, "ModelInfer")
        return all(
            infer["status"]["observedGeneration"] == infer["metadata"]["generation"]
            and infer["status"].get("replicas", 0) == wanted[infer["metadata"]["name"]][0]
            for infer in infers
        )

    await eventually(tells_so, timeout_s=SLOW_S, every_s=0.1)
    for name in NAMES:
        await client.delete("modelinfers", "default", name)
        await client.delete("modelservers", "default", name)

    async def nothing_is_left() -> bool:
        kinds = ("ModelInfer", "ModelServer", "Pod", "ControllerRevision")
        return (
            not [one for kind in kinds for one in await found(bus, kind)] and not await bus.store("SERVING").entries()
        )

    await eventually(nothing_is_left, timeout_s=SLOW_S, every_s=0.1)
