"""Prompts that one engine computes and another one decodes: what every engine that can do it promises to the worker.

The simulated engine is the only one here that runs without a GPU; a job and its answer are all that is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from matrixinfer.agents.engines.port import Engine, EngineInfo, Job
from matrixinfer.agents.engines.registry import create
from matrixinfer.agents.worker.connectors import decode_body, params_of, prefill_body
from matrixinfer.bus.contracts.disaggregation import Connector, Counterpart
from support.engine_answer import Answer
from support.eventually import eventually

BODY = msgspec.json.encode({"prompt": "one two three " * 40, "max_tokens": 5, "ignore_eos": True})
PROMPT_TOKENS = 140
BLOCK_TOKENS = 4
CONNECTORS: list[Connector] = ["sglang", "nixl", "mooncake", "lmcache"]


class Pair:
    """Two engines of one connector, and both bodies of a request."""

    def __init__(self, connector: Connector, prefill: Engine, decode: Engine, info: EngineInfo) -> None:
        self.prefill = prefill
        self.decode = decode
        self.counterpart = Counterpart(connector, "p", "b", 1.0, 1.0, info.bootstrap, 77)

    def compute(self, rid: str = "r1") -> Answer:
        return begin(self.prefill, rid, prefill_body(BODY, self.counterpart), stream=False)

    def generate(self, rid: str = "r1", params: bytes = b"null") -> Answer:
        return begin(self.decode, rid, decode_body(BODY, self.counterpart, params), stream=True)


def begin(engine: Engine, rid: str, body: bytes, *, stream: bool) -> Answer:
    answer = Answer()
    engine.generate(Job(rid, "completions", "tiny", stream, body), answer.emit)
    return answer


async def ended(answer: Answer) -> Answer:
    await eventually(lambda: answer.is_final, timeout_s=20.0)
    return answer


async def whole_way(pair: Pair, rid: str = "r1") -> tuple[Answer, Answer]:
    """As the agents do it: one after the other, or both at once."""
    if pair.counterpart.connector == "sglang":
        first = pair.generate(rid)
        return await ended(pair.compute(rid)), await ended(first)
    computed = await ended(pair.compute(rid))
    return computed, await ended(pair.generate(rid, params_of(computed.data) or b"null"))


MakePair = Callable[..., Any]


@pytest.fixture
def pair_of(tmp_path: Path) -> MakePair:
    @asynccontextmanager
    async def make(connector: Connector, decode: dict[str, Any] | None = None, **config: Any) -> AsyncIterator[Pair]:
        shared = {"shared_cache": str(tmp_path / "cache")} if connector == "lmcache" else {}
        own = {"block_tokens": BLOCK_TOKENS, "decode_step_s": 0.001, **shared, **config}
        roles = ("none", "none") if connector == "lmcache" else ("prefill", "decode")
        configs = ({**own, "disaggregation": roles[0]}, {**own, "disaggregation": roles[1], **(decode or {})})
        engines = [create("Simulated", "", "tiny", config) for config in configs]
        infos = [await engine.start() for engine in engines]
        assert bool(infos[0].bootstrap) == (connector != "lmcache")
        assert infos[1].bootstrap == ""
        try:
            yield Pair(connector, engines[0], engines[1], infos[0])
        finally:
            for engine in engines:
                await engine.close()

    return make


@pytest.mark.parametrize("connector", CONNECTORS)
async def test_an_answer_is_the_same_as_by_one_engine_alone(pair_of: MakePair, connector: Connector) -> None:
    async with pair_of(connector) as pair:
        alone = await ended(begin(pair.decode, "r0", BODY, stream=True))
    async with pair_of(connector) as pair:
        computed, answer = await whole_way(pair)
        assert computed.last.usage.output_tokens == 1
        assert answer.last.usage.prompt_tokens == PROMPT_TOKENS
        assert answer.last.usage.output_tokens == 5
        assert [e["choices"][0]["text"] for e in answer.events()] == [e["choices"][0]["text"] for e in alone.events()]


@pytest.mark.parametrize("connector", CONNECTORS)
async def test_the_decode_engine_does_not_compute_the_prompt(pair_of: MakePair, connector: Connector) -> None:
    too_slow_to_compute_it = {"prefill_tokens_per_s": 5.0}
    async with pair_of(connector, too_slow_to_compute_it) as pair:
        _, first = await whole_way(pair, "r1")
        await eventually(lambda: pair.prefill.load().kv_usage == 0)
        assert pair.decode.load().kv_usage == 0
        assert first.last.failure is None
        cached = first.last.usage.cached_tokens
        assert cached == (PROMPT_TOKENS // BLOCK_TOKENS - 1) * BLOCK_TOKENS if connector == "lmcache" else cached == 0


@pytest.mark.parametrize("connector", ["nixl", "sglang"])
async def test_a_computed_prompt_keeps_its_room_until_it_is_fetched(pair_of: MakePair, connector: Connector) -> None:
    async with pair_of(connector) as pair:
        computed = await ended(pair.compute())
        assert pair.prefill.load().kv_usage > 0
        await ended(pair.generate(params=params_of(computed.data) or b"null"))
        await eventually(lambda: pair.prefill.load().kv_usage == 0)


async def test_a_prompt_that_nobody_fetches_is_dropped(pair_of: MakePair) -> None:
    async with pair_of("nixl", kv_hold_s=0.05) as pair:
        computed = await ended(pair.compute())
        await eventually(lambda: pair.prefill.load().kv_usage == 0)
        answer = await ended(pair.generate(params=params_of(computed.data)))
        assert answer.last.failure is not None


async def test_a_prompt_that_nobody_computes_is_a_failure_of_the_engine(pair_of: MakePair) -> None:
    async with pair_of("sglang", kv_wait_s=0.05) as pair:
        failure = (await ended(pair.generate())).last.failure
        assert failure.status == 500
        assert "lost connection with prefill instance" in failure.message


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_prefill_engine_that_gives_up_fails_the_decode_engine(pair_of: MakePair, how: str) -> None:
    async with pair_of("sglang", prefill_tokens_per_s=1.0) as pair:
        answer = pair.generate()
        computing = pair.compute()
        await asyncio.sleep(0)
        if how == "close":
            await pair.prefill.close()
        else:
            pair.prefill.abort("r1")
        await ended(computing)
        assert (await ended(answer)).last.failure.status == 500
        assert not any(piece.data for piece in answer.pieces)


async def test_a_transfer_takes_its_time_and_its_break_is_a_failure(pair_of: MakePair) -> None:
    async with pair_of("nixl", kv_transfer_tokens_per_s=1.0) as pair:
        computed = await ended(pair.compute())
        answer = pair.generate(params=params_of(computed.data))
        await eventually(lambda: pair.prefill.load().kv_usage > 0)
        await pair.prefill.close()
        assert (await ended(answer)).last.failure.status == 500


async def test_an_abort_ends_a_job_whose_prompt_is_still_coming(pair_of: MakePair) -> None:
    async with pair_of("sglang") as pair:
        answer = pair.generate()
        pair.decode.abort("r1")
        assert (await ended(answer)).last.failure.code == "cancelled"
        await ended(begin(pair.decode, "r1", BODY, stream=False))


async def test_close_ends_a_job_whose_prompt_is_still_coming(pair_of: MakePair) -> None:
    async with pair_of("sglang") as pair:
        answer = pair.generate()
        await pair.decode.close()
        assert (await ended(answer)).last.failure.status == 503


async def test_another_life_of_the_prefill_engine_does_not_have_the_prompt(pair_of: MakePair) -> None:
    async with pair_of("nixl") as pair:
        computed = await ended(pair.compute())
        params = msgspec.json.decode(params_of(computed.data)) | {"remote_engine_id": "another"}
        assert (await ended(pair.generate(params=msgspec.json.encode(params)))).last.failure.status == 500
