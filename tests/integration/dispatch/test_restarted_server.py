"""A real server killed and restarted under load: what it accepted is run, and run once."""

import asyncio
from collections import Counter

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.serving import Pool, PoolPod, pod_key, pool_key
from matrixinfer.bus.errors import BusError
from matrixinfer.bus.ports import Backlog, Consumer
from matrixinfer.handlers.dispatch.main import run
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from support.dispatch import claimed_epoch
from support.eventually import eventually
from support.nats import connected, running_server
from support.scripted import MS, NS, ScriptedAgent, ScriptedGateway

REQUESTS = [f"r{i}" for i in range(400)]


async def test_nothing_accepted_is_lost_or_run_twice_when_the_server_is_killed_under_load(tmp_path):
    async with (
        running_server(tmp_path) as server,
        connected(server.url) as handlers,
        connected(server.url) as clients,
        connected(server.url) as pod_1,
        connected(server.url) as pod_2,
    ):
        stop = asyncio.Event()
        dispatching = asyncio.create_task(run(DispatchSettings(), handlers, stop))
        await clients.store("SERVING").put(pool_key(NS, MS), encode(Pool(NS, MS, "Simulated")))
        agents = [ScriptedAgent(pod_1, "p1", slots=8), ScriptedAgent(pod_2, "p2", slots=8)]
        for agent in agents:
            await clients.store("SERVING").put(pod_key(NS, MS, agent.pod), encode(PoolPod(NS, MS, agent.pod)))
            await agent.boot_up()
        working = asyncio.create_task(work_off(agents))
        posting = asyncio.create_task(post_all(clients))
        await eventually(lambda: len(started(agents)) > 100, timeout_s=20)
        await server.restart()
        await posting
        await eventually(lambda: set(started(agents)) == set(REQUESTS), timeout_s=30)
        await eventually(lambda: is_empty(clients), timeout_s=20, every_s=0.2)
        assert started(agents) == Counter(REQUESTS)
        assert max(agent.most_at_once for agent in agents) <= 8
        stop.set()
        await dispatching
        working.cancel()
        for agent in agents:
            await agent.die()


async def post_all(bus: Bus) -> None:
    """As a gateway does: what the server did not confirm is posted again under the same id."""
    gateway = ScriptedGateway(bus)
    await gateway.open()
    for rid in REQUESTS:
        while True:
            try:
                await gateway.post(rid)
                break
            except BusError:
                await asyncio.sleep(0.05)


async def work_off(agents: list[ScriptedAgent]) -> None:
    while True:
        for agent in agents:
            for rid in agent.waiting_rids:
                await agent.start(rid)
                await agent.finish(rid)
        await asyncio.sleep(0.02)


async def is_empty(bus: Bus) -> bool:
    claims = await bus.store("LEASES").entries("pool")
    epoch = max(claimed_epoch(entry) for entry in claims.values())
    everything = bus.subjects.infer_filter(NS, MS, 0)
    try:
        backlog = await bus.queue.backlog(Consumer("REQUESTS", f"d-{NS}-{MS}-0-{epoch}", everything, 3600.0, 40_000))
    except BusError:
        return False
    return backlog == Backlog(0, 0)


def started(agents: list[ScriptedAgent]) -> Counter[str]:
    return Counter(key.rid for agent in agents for key in agent.started)
