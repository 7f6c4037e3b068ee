"""Prefill and decode on real processes, from the client to both engines and back: every connector, and what fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio

from support.clients import Answer, ask, chat
from support.eventually import eventually
from support.house import House
from support.overheard import Overheard

CONNECTORS = ["sglang", "nixl", "mooncake", "lmcache", "http"]
WORDS = "word " * 1200  # 1,500 tokens: half a second of prefill
SLOW = "slow"
"""A pool by nixl of which the prefill takes many seconds, so that something can happen meanwhile."""
MEETING = "meeting"
"""The same by sglang, with two pods for prefill."""

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


def role(name: str, model: str, replicas: int, config: str) -> str:
    return f"""
      - name: {name}
        replicas: {replicas}
        entryTemplate:
          metadata: {{labels: {{matrixinfer.ai/agent: "true"}}}}
          spec:
            containers:
              - name: agent
                image: matrixinfer
                command: [matrixinfer, agent]
                env:
                  - {{name: MATRIXINFER_AGENT_ENGINE, value: Simulated}}
                  - {{name: MATRIXINFER_AGENT_SERVED_MODEL, value: {model}}}
                  - {{name: MATRIXINFER_AGENT_ENGINE_CONFIG, value: '{config}'}}"""


def pool(name: str, connector: str, folder: Path, *, prefill: int = 1, tokens_per_s: int = 3000) -> str:
    """Some pods that prefill so fast, and one that decodes."""
    more = f'"prefill_tokens_per_s": {tokens_per_s}, "decode_step_s": 0.005, "slots": 8'
    if connector in ("lmcache", "http"):
        more += f', "shared_cache": "{folder / name}"'
    prefill_role = role("prefill", name, prefill, f'{{"disaggregation": "prefill", {more}}}')
    decode_role = role("decode", name, 1, f'{{"disaggregation": "decode", {more}}}')
    return f"""
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelInfer
metadata: {{name: {name}}}
spec:
  template:
    roles:{prefill_role}{decode_role}
---
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelServer
metadata: {{name: {name}}}
spec:
  model: {name}
  inferenceEngine: Simulated
  workloadSelector:
    matchLabels: {{matrixinfer.ai/modelinfer: {name}}}
    pdGroup:
      groupKey: matrixinfer.ai/group-index
      prefillLabels: {{matrixinfer.ai/role: prefill}}
      decodeLabels: {{matrixinfer.ai/role: decode}}
  kvConnector: {{type: {connector}}}
  dispatch: {{disaggregation: {{mode: {"always" if connector == "sglang" else "auto"}, thresholdTokens: 100}}}}
---
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelRoute
metadata: {{name: {name}}}
spec: {{modelName: {name}, rules: [{{targetModels: [{{modelServerName: {name}}}]}}]}}
---"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder: Path = tmp_path_factory.mktemp("pairs")
    pools = [pool(connector, connector, folder) for connector in CONNECTORS]
    pools.append(pool(SLOW, "nixl", folder, tokens_per_s=150))
    pools.append(pool(MEETING, "sglang", folder, prefill=2, tokens_per_s=150))
    (folder / "pools.yaml").write_text("".join(pools))
    async with House(folder / "data", "-f", str(folder / "pools.yaml")) as house:
        yield house


@pytest_asyncio.fixture(loop_scope="module")
async def overheard(house: House) -> AsyncIterator[Overheard]:
    async with Overheard(house) as overheard:
        yield overheard


async def answer(house: House, model: str, prompt: str = WORDS, tokens: int = 8) -> Answer:
    async with httpx.AsyncClient(timeout=60) as client:
        return await ask(client, house.url, chat(prompt, model=model, tokens=tokens, stream=True))


async def are_serving(overheard: Overheard, model: str, pods: int) -> None:
    async def are_all_there() -> bool:
        return await overheard.serving(model) == pods

    await eventually(are_all_there, timeout_s=60, every_s=0.05)


def agent_of(house: House, pod: str) -> int:
    (pid,) = [
        pid
        for pid in house.pids("matrixinfer", "agent")
        if psutil.Process(pid).environ()["MATRIXINFER_AGENT_POD"] == pod
    ]
    return pid


@pytest.mark.parametrize("connector", CONNECTORS)
async def test_with_every_connector_both_halves_go_out_and_one_answer_comes_back(
    house: House, overheard: Overheard, connector: str
) -> None:
    await are_serving(overheard, connector, 2)
    said = await answer(house, connector)
    assert said.status == 200, said
    assert said.done, said
    handed = [] if connector == "sglang" else ["handed to decode"]
    order = ["work prefill", "work decode", *handed, "first frame decode", "last frame decode"]
    await eventually(lambda: overheard.of(connector, order) == order, timeout_s=5)
    assert overheard.phases(connector) == {"prefill", "decode"}, "no frame of the prefill half, no second try"


async def test_a_short_prompt_stays_whole(house: House, overheard: Overheard) -> None:
    await are_serving(overheard, "nixl", 2)
    said = await answer(house, "nixl", "short", tokens=3)
    assert said.done, said
    assert overheard.phases("nixl") == {"whole"}


async def test_when_the_prefill_agent_is_killed_the_decode_pod_does_it_alone(
    house: House, overheard: Overheard
) -> None:
    await are_serving(overheard, SLOW, 2)
    asked = asyncio.create_task(answer(house, SLOW, "kill " * 200))
    await eventually(lambda: overheard.is_computing("prefill"), timeout_s=20)
    house.kill(agent_of(house, f"{SLOW}-0-prefill-0-0"))
    said = await asked
    assert said.done, said
    assert overheard.handovers(SLOW) == ["lost"]
    assert overheard.phases(SLOW) == {"prefill", "decode"}, "it was not placed again"


async def test_an_engine_that_cannot_prefill_gives_it_back_and_another_pair_gets_it(
    house: House, overheard: Overheard
) -> None:
    await are_serving(overheard, MEETING, 3)
    asked = asyncio.create_task(answer(house, MEETING, "pair " * 200))
    await eventually(lambda: overheard.is_computing("prefill"), timeout_s=20)
    (first,) = overheard.pods_with("prefill")
    house.kill(agent_of(house, first))
    said = await asked
    assert said.done, said
    assert len(overheard.pods_with("prefill")) == 2, "the other prefill pod got it"


async def test_a_client_that_leaves_while_its_prompt_is_computed_ends_both_halves(
    house: House, overheard: Overheard
) -> None:
    await are_serving(overheard, SLOW, 2)
    asked = asyncio.create_task(answer(house, SLOW, "leave " * 600))
    await eventually(lambda: overheard.is_computing("prefill"), timeout_s=20)
    asked.cancel()
    ends = {("prefill", "cancelled"), ("decode", "cancelled")}
    await eventually(lambda: overheard.ends(SLOW) == ends, timeout_s=5)


async def test_a_pair_needs_no_dispatcher_to_finish(house: House, overheard: Overheard) -> None:
    await are_serving(overheard, SLOW, 2)
    asked = asyncio.create_task(answer(house, SLOW, "alone " * 400))
    await eventually(lambda: overheard.is_computing("prefill"), timeout_s=20)
    (handlers,) = house.pids("matrixinfer", "handlers")
    house.kill(handlers)
    said = await asked
    assert said.done, said
    assert overheard.phases(SLOW) == {"prefill", "decode"}
    await are_serving(overheard, SLOW, 2)
