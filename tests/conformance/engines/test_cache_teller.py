"""The promises of engines that tell what their cache holds."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from matrixinfer.agents.engines.port import CacheTeller, Engine, Job
from matrixinfer.agents.engines.registry import create
from matrixinfer.bus.block_hashes import BLOCK_BYTES, HASH_BYTES, block_hashes
from matrixinfer.bus.contracts.cache import BlocksRemoved, BlocksStored, CacheChange, CacheCleared
from support.engine_answer import Answer
from support.eventually import eventually

MODEL = "tiny"
FITTING_BLOCKS = 8


async def make_simulated() -> Engine:
    config = {"decode_step_s": 0.0, "prefill_tokens_per_s": 0.0, "kv_capacity_tokens": FITTING_BLOCKS * 256}
    return create("Simulated", "", MODEL, config)


@pytest.fixture(params=[pytest.param(make_simulated, id="simulated")])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    engine: Engine = await request.param()
    info = await engine.start()
    assert info.tells_cache
    yield engine
    await engine.close()


class Follower:
    """Applies what a teller tells."""

    def __init__(self, engine: Engine) -> None:
        assert isinstance(engine, CacheTeller)
        self.teller: CacheTeller = engine
        self.known: set[bytes] = set()

    def follow(self) -> list[CacheChange]:
        changes = self.teller.take_cache_changes()
        for change in changes:
            match change:
                case BlocksStored():
                    self.known |= split(change.hashes)
                case BlocksRemoved():
                    self.known -= split(change.hashes)
                case CacheCleared():
                    self.known.clear()
        return changes

    def held(self) -> set[bytes]:
        return set().union(*[split(each.hashes) for each in self.teller.cached_blocks()])


def split(hashes: bytes) -> set[bytes]:
    return {hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)}


def prompt(name: str, blocks: int = 3) -> str:
    return (name * BLOCK_BYTES)[:BLOCK_BYTES] * blocks + "end"


def names(text: str) -> bytes:
    """As the gateway names the blocks of this prompt: the JSON's quote is its first byte."""
    return block_hashes(b'"' + text.encode())


async def run(engine: Engine, rid: str, text: str) -> int:
    """Returns the cached tokens that the engine reports."""
    answer = Answer()
    body = msgspec.json.encode({"model": MODEL, "prompt": text, "max_tokens": 1})
    engine.generate(Job(rid, "completions", MODEL, False, body, block_hashes=names(text)), answer.emit)
    await eventually(lambda: answer.is_final)
    assert answer.pieces[-1].usage is not None
    return answer.pieces[-1].usage.cached_tokens


async def test_a_prompt_is_told_under_the_names_that_the_gateway_gave_its_blocks(engine: Engine) -> None:
    follower = Follower(engine)
    assert follower.follow() == []
    await run(engine, "a", prompt("a"))
    follower.follow()
    assert follower.known == follower.held() == split(names(prompt("a")))


async def test_who_asks_late_is_told_everything_at_first_and_then_only_what_changes(engine: Engine) -> None:
    await run(engine, "a", prompt("a"))
    follower = Follower(engine)
    follower.follow()
    assert follower.known == split(names(prompt("a")))
    assert follower.follow() == []
    await run(engine, "b", prompt("b"))
    [change] = follower.follow()
    assert isinstance(change, BlocksStored)
    assert split(change.hashes) == split(names(prompt("b")))


async def test_what_is_evicted_is_told_too(engine: Engine) -> None:
    follower = Follower(engine)
    for name in "abcdef":
        await run(engine, name, prompt(name))
        follower.follow()
    assert follower.known == follower.held()
    assert not split(names(prompt("a"))) <= follower.known
    assert 0 < len(follower.known) <= FITTING_BLOCKS


async def test_what_is_told_is_what_the_engine_reports_as_cached(engine: Engine) -> None:
    follower = Follower(engine)
    text = prompt("a")
    await run(engine, "a", text)
    follower.follow()
    assert follower.known >= split(names(text))
    assert await run(engine, "again", text) == 3 * 256


async def test_an_engine_whose_blocks_have_another_size_does_not_say_that_it_tells() -> None:
    engine = create("Simulated", "", MODEL, {"block_tokens": 16})
    assert not (await engine.start()).tells_cache
    await engine.close()
