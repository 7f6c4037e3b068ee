"""Dispatch on real processes: turns between tenants, affinity to caches, refusals at the door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from support.eventually import eventually
from support.house import House

MODEL = "slow"
MANIFEST = """
apiVersion: matrixinfer.ai/v1alpha1
kind: Model
metadata: {name: slow}
spec:
  backends:
    - name: main
      type: Simulated
      minReplicas: 4
      config: {slots: 2, decode_step_s: 0.005, prefill_tokens_per_s: 20000}
"""
LONG = "The quick brown fox jumps over the lazy dog. " * 200


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder: Path = tmp_path_factory.mktemp("scheduling")
    (folder / "slow.yaml").write_text(MANIFEST)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MATRIXINFER_GATEWAY_TRUST_TENANT_HEADER", "true")
        async with House(folder / "data", "-f", str(folder / "slow.yaml")) as house:
            yield house


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=400)
    async with httpx.AsyncClient(base_url=house.url, timeout=60, limits=limits) as client:
        yield client


pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


async def ask(
    client: httpx.AsyncClient, text: str, *, tenant: str = "t", max_tokens: int = 20, **headers: str
) -> httpx.Response:
    body = {"model": MODEL, "max_tokens": max_tokens, "messages": [{"role": "user", "content": text}]}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post("/v1/chat/completions", json=body, headers={"x-tenant": tenant, **names})


def cached_tokens(answer: httpx.Response) -> int:
    usage: dict[str, Any] = answer.json()["usage"]
    return int((usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0))


async def test_a_light_tenant_does_not_wait_behind_a_heavy_ones_backlog(client: httpx.AsyncClient) -> None:
    done: list[str] = []

    async def note(tenant: str, number: int) -> None:
        answer = await ask(client, f"{tenant} {number}", tenant=tenant)
        assert answer.status_code == 200, answer.text
        done.append(tenant)

    heavy = [asyncio.create_task(note("heavy", number)) for number in range(150)]
    await eventually(lambda: done, timeout_s=30)
    await asyncio.gather(*(note("light", number) for number in range(10)))
    left = done.count("heavy")
    await asyncio.gather(*heavy)
    assert left < 100, f"{left} of 150 requests of the heavy tenant went before the last of the light one"


async def test_a_prompt_with_a_known_beginning_goes_where_that_is_cached(client: httpx.AsyncClient) -> None:
    answers = [await ask(client, LONG + f"Question {number}?") for number in range(8)]
    assert cached_tokens(answers[0]) == 0
    assert all(cached_tokens(answer) > 1000 for answer in answers[1:])


async def test_a_burst_with_one_beginning_spreads_when_its_pod_is_full(client: httpx.AsyncClient) -> None:
    beginning = LONG.replace("fox", "hen")
    await ask(client, beginning)
    answers = await asyncio.gather(*(ask(client, beginning + str(number)) for number in range(16)))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(cached_tokens(answer) > 1000 for answer in answers) >= 8


async def test_a_request_that_cannot_start_in_time_is_refused_with_the_time_to_come_back(
    client: httpx.AsyncClient,
) -> None:
    """The pool has to know its pace first: some seconds with a backlog."""
    backlog = [
        asyncio.create_task(ask(client, f"work {number}", tenant="busy", max_tokens=100)) for number in range(300)
    ]

    await eventually(lambda: any(task.done() for task in backlog), timeout_s=30)  # all pods are full by then

    async def hurry() -> httpx.Response | None:
        answer = await ask(client, "hurry", tenant="busy", x_request_timeout_s="1")
        return answer if answer.status_code != 504 else None

    answer = await eventually(hurry, timeout_s=60, every_s=0.5)
    assert answer.status_code == 429, answer.text
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert int(answer.headers["retry-after"]) >= 1
    for task in backlog:
        task.cancel()
    await asyncio.gather(*backlog, return_exceptions=True)
