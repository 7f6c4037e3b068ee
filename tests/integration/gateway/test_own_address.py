"""Each worker's own address: there a scraper or a probe knows who answers."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from integration.gateway.conftest import Site, eventually_async, running
from matrixinfer.bus.contracts.frames import ChunkKind
from matrixinfer.bus.server.record import free_port
from matrixinfer.gateway.errors import PortTaken
from support.eventually import eventually
from unit.gateway.farside import chunk

ASK = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}


def requests_of(page: str) -> dict[str, float]:
    """Requests that ended, by the worker that says so."""
    return {
        sample.labels["worker"]: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "matrixinfer_gateway_requests_total"
    }


async def get(site: Site, port: int, path: str) -> httpx.Response:
    return await site.http().get(f"http://127.0.0.1:{port}{path}")


async def test_it_tells_of_its_worker_only_and_serves_no_requests():
    port = free_port()
    async with running(metrics_port=port, worker="gateway-7") as site:
        await site.http().post("/v1/chat/completions", json={"model": "unknown", "messages": [1]})
        pages = [(await get(site, port, "/metrics")).text, (await site.http().get("/metrics")).text]
        assert [requests_of(page) for page in pages] == [{"gateway-7": 1.0}] * 2
        assert (await get(site, port, "/healthz")).json() == {"status": "ok"}
        assert (await get(site, port, "/readyz")).json() == {"status": "ready"}
        refused = await get(site, port, "/v1/models")
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "not_found")


async def test_workers_that_share_a_port_never_mix_their_samples():
    ports = free_port(), free_port()
    async with (
        running(reuse_port=True, metrics_port=ports[0], worker="one") as one,
        running(reuse_port=True, metrics_port=ports[1], worker="two", port=one.address[1]) as two,
    ):
        for _ in range(20):  # each over a connection of its own, so that the kernel chooses anew
            async with httpx.AsyncClient(base_url=one.url) as client:
                await client.post("/v1/chat/completions", json={"model": "unknown", "messages": [1]})
        own = [requests_of((await get(two, port, "/metrics")).text) for port in ports]
        counts = own[0] | own[1]
        assert sum(counts.values()) == 20
        assert all(set(worker) <= {name} for worker, name in zip(own, ("one", "two"), strict=True))
        assert requests_of((await two.http().get("/metrics")).text).items() <= counts.items()


async def test_a_worker_that_drains_says_there_that_it_is_not_ready():
    port = free_port()
    async with running(metrics_port=port, drain_s=20) as site:
        asked = asyncio.create_task(site.http().post("/v1/chat/completions", json=ASK))
        [envelope] = await eventually(lambda: site.far.envelopes)
        site.stop.set()

        async def is_shutting_down() -> bool:
            answer = await get(site, port, "/readyz")
            return answer.status_code == 503 and answer.json()["reason"] == "shutting down"

        await eventually_async(is_shutting_down)
        assert 'requests_in_flight{worker="w"} 1.0' in (await get(site, port, "/metrics")).text
        await site.far.send(envelope, chunk(envelope, 0, b"{}", ChunkKind.END))
        assert (await asked).status_code == 200


async def test_a_taken_one_stops_the_start_and_says_what_to_do(site):
    host, port = site.address
    with pytest.raises(PortTaken, match=f"{host}:{port}: stop it, or choose .*MATRIXINFER_GATEWAY_METRICS_PORT"):
        async with running(metrics_port=port):
            pass
