"""An engine whose caches are not as dispatch believes makes its ModelServer say so, whoever starts again meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from matrixinfer.bus.bus import Bus
from matrixinfer.handlers.dispatch.main import run
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from support.dispatch import claimed_epoch
from support.eventually import eventually
from support.scripted import MS, NS, ScriptedGateway
from support.told_caches import Prompt, TellingAgent

POD = "p1"
PROMPT = Prompt("x", blocks=5)
MANIFESTS = f"""
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelServer
metadata: {{name: {MS}}}
spec: {{model: {MS}, inferenceEngine: Simulated, workloadSelector: {{matchLabels: {{app: x}}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {POD}, labels: {{app: x}}}}
spec: {{containers: [{{name: agent}}]}}
"""

CHANGED = MANIFESTS.replace(f"model: {MS},", f"model: {MS}, dispatch: {{tenantWeights: {{t: 2}}}},")


class Dispatching:
    """A dispatcher with a connection of its own."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._task = asyncio.create_task(run(DispatchSettings(), bus, asyncio.Event()))

    async def die(self) -> None:
        """As a killed process: it says nothing more."""
        await self._bus.link.close()
        self._task.cancel()
        await asyncio.wait([self._task])


@asynccontextmanager
async def telling_agent(plane) -> AsyncIterator[TellingAgent]:
    agent = TellingAgent(plane.connect, POD)
    await agent.boot_up()
    agent.engine.misnames = True
    yield agent
    await agent.die()


async def trusted(plane) -> dict[str, Any]:
    """The condition; empty when there is none."""
    server = await plane.client.get("ms", NS, MS)
    return {one["type"]: one for one in server.get("status", {}).get("conditions", [])}.get("CacheIndexTrusted", {})


async def is_trusted(plane, status: str) -> bool:
    return (await trusted(plane)).get("status") == status


async def ask_until(plane, status: str) -> None:
    """The same question again and again."""
    gateway = ScriptedGateway(plane.bus)
    await gateway.open()
    for number in range(1000):
        if await is_trusted(plane, status):
            await gateway.leave()
            return
        rid = f"r{number}"
        await gateway.post(rid, **PROMPT.envelope_fields())
        await eventually(lambda rid=rid: any(chunk.rid == rid for chunk in gateway.chunks), timeout_s=10)
        await asyncio.sleep(0.05)
    raise AssertionError(f"not {status}: {await trusted(plane)}")


async def epoch(plane) -> int:
    entry = await plane.bus.store("LEASES").get(f"pool.{NS}.{MS}.0")
    return claimed_epoch(entry) if entry is not None else 0


async def test_a_mismatch_is_a_condition_that_outlives_its_dispatcher_and_its_reconciler(plane) -> None:
    first_handlers = await plane.start_handlers()
    plane.start_node(agents=False)
    await plane.client.apply(MANIFESTS)
    async with telling_agent(plane) as agent:
        dispatcher = Dispatching(await plane.connect())
        await eventually(lambda: is_trusted(plane, "True"), timeout_s=10)
        await ask_until(plane, "False")
        told = await trusted(plane)
        assert f"suspected at 1 pod: {POD}" in told["message"]

        reign = await epoch(plane)
        await dispatcher.die()
        await first_handlers.end()
        await plane.start_handlers()
        dispatcher = Dispatching(await plane.connect())

        async def reigns_anew() -> bool:
            return await epoch(plane) > reign

        await eventually(reigns_anew, timeout_s=10)
        await plane.client.apply(
            MANIFESTS.replace(f"model: {MS},", f"model: {MS}, dispatch: {{tenantWeights: {{t: 2}}}},")
        )
        await eventually(lambda: is_reconciled(plane, 2), timeout_s=10)
        assert await trusted(plane) == told | {"observedGeneration": 2}, "nobody has learned anything else"

        await agent.die()
        await agent.boot_up()
        await eventually(lambda: is_trusted(plane, "True"), timeout_s=20)
        await dispatcher.die()


async def is_reconciled(plane, generation: int) -> bool:
    server = await plane.client.get("ms", NS, MS)
    return server["status"]["observedGeneration"] == generation
