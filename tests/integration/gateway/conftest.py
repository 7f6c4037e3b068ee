from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import openai
import pytest
import uvloop

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.gateway.main import serve
from matrixinfer.gateway.settings import GatewaySettings
from support.eventually import eventually
from unit.gateway.farside import FarSide, publish_route


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The gateway runs on uvloop: its writes of one loop turn leave together."""
    return {"uvloop": uvloop.new_event_loop}


@dataclass
class Site:
    """A gateway that listens, and the scripted other side of its bus."""

    url: str
    bus: Bus
    broker: MemoryBroker
    far: FarSide
    stop: asyncio.Event
    server: asyncio.Task[None]
    clients: list[httpx.AsyncClient | openai.AsyncOpenAI] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        url = httpx.URL(self.url)
        return url.host, url.port or 0

    def http(self) -> httpx.AsyncClient:
        client = httpx.AsyncClient(base_url=self.url, timeout=20, trust_env=False)
        self.clients.append(client)
        return client

    def openai(self) -> openai.AsyncOpenAI:
        client = openai.AsyncOpenAI(
            base_url=f"{self.url}/v1",
            api_key="none",
            max_retries=0,
            timeout=20,
            http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
        )
        self.clients.append(client)
        return client


async def eventually_async(predicate: Callable[[], Awaitable[bool]]) -> None:
    """Wait until an asynchronous question is answered with yes."""
    question: Callable[[], bool | Awaitable[bool]] = predicate
    await eventually(question)


@asynccontextmanager
async def running(*, routed: bool = True, **settings: object) -> AsyncIterator[Site]:
    """A gateway with these settings on a free port."""
    broker = MemoryBroker(SystemClock())
    bus = broker.connect()
    if routed:
        await publish_route(bus)
    far = FarSide(broker.connect())
    await far.start()
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    chosen = GatewaySettings.model_validate({"port": 0, "worker": "w", **settings})
    server = asyncio.create_task(serve(chosen, bus, stop, on_listening=ready.set_result))
    await asyncio.wait({server, ready}, return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        await server
    site = Site(ready.result(), bus, broker, far, stop, server)
    try:
        yield site
    finally:
        for client in site.clients:
            await (client.aclose() if isinstance(client, httpx.AsyncClient) else client.close())
        stop.set()
        if not server.cancelled():
            async with asyncio.timeout(20):
                await server


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running() as running_site:
        yield running_site
