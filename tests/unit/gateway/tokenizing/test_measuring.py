"""Who measures a prompt, and that a longer conversation's blocks begin with the shorter one's."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.bus.background import Background
from matrixinfer.bus.block_hashes import BLOCK_TOKENS, block_hashes
from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.contracts.envelope import Endpoint
from matrixinfer.bus.contracts.serving import Pool, Tokenizer
from matrixinfer.gateway.metrics import Metrics
from matrixinfer.gateway.pipeline import body
from matrixinfer.gateway.pipeline.body import Asked
from matrixinfer.gateway.pipeline.prompt import Prompt, measure, of_tokens
from matrixinfer.gateway.pipeline.routing import Choice
from matrixinfer.gateway.settings import GatewaySettings
from matrixinfer.gateway.tokenizing.encoder import Encoder, load
from matrixinfer.gateway.tokenizing.encoders import TRY_AGAIN_S, Encoders
from matrixinfer.gateway.tokenizing.errors import NotTokenized, TokenizerUnusable
from matrixinfer.gateway.tokenizing.measuring import Measuring
from support.eventually import eventually
from support.tokenizer import write_tokenizer

CHOICE = Choice("ns", "ms", 0, "", "", 0.0, 3)
WISH = Tokenizer("/models/m")


def pool(tokenizer: Tokenizer | None = WISH, name: str = "ms") -> Pool:
    return Pool("ns", name, "Simulated", tokenizer=tokenizer)


class Gated(Encoder):
    """Makes a token of every byte; long bodies wait until they may."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.threads: list[threading.Thread] = []

    def token_ids(self, asked: Asked, endpoint: Endpoint, *, apart: bool = False) -> Sequence[int]:
        assert apart == (threading.current_thread() is not threading.main_thread())
        self.threads.append(threading.current_thread())
        text = bytes(asked.prompt)
        if threading.current_thread() is not threading.main_thread():
            assert self.gate.wait(20)
        if b"!" in text:
            raise NotTokenized("media")
        return list(text)


class Site:
    def __init__(self, loading: Callable[[Tokenizer], Encoder], **chosen: int) -> None:
        self.clock = ManualClock()
        self.background = Background()
        self.metrics = Metrics(lambda: 0, "w")
        self.encoders = Encoders(self.clock, self.background, self.metrics, loading)
        self.measuring = Measuring(GatewaySettings.model_validate(chosen), self.encoders, self.metrics)

    async def loaded(self, name: str = "ms") -> None:
        await eventually(lambda: (entry := self.encoders.of(("ns", name))) is not None and entry.encoder is not None)

    async def measure(self, text: str, choice: Choice = CHOICE) -> Prompt:
        data = json.dumps({"model": "m", "prompt": text}).encode()
        return await self.measuring.measure(body.read(data, "completions"), "completions", choice, len(data))

    def counted(self, how: str) -> float | None:
        labels = {"modelserver": "ns/ms", "how": how}
        return self.metrics.registry.get_sample_value("matrixinfer_gateway_prompts_total", labels)

    def is_loaded(self, name: str = "ms") -> float | None:
        labels = {"modelserver": f"ns/{name}"}
        return self.metrics.registry.get_sample_value("matrixinfer_gateway_tokenizer_loaded", labels)

    async def close(self) -> None:
        self.measuring.close()
        await self.background.close()


def by_bytes(text: str) -> Prompt:
    return measure(body.read(json.dumps({"model": "m", "prompt": text}).encode(), "completions"), "")


async def test_a_pool_without_a_tokenizer_is_measured_by_bytes_and_not_counted() -> None:
    site = Site(load)
    site.encoders.follow([pool(None)])
    assert await site.measure("hello") == by_bytes("hello")
    assert site.is_loaded() is None
    await site.close()


async def test_a_short_prompt_is_tokenized_on_the_loop_and_a_long_one_in_a_thread() -> None:
    encoder = Gated()
    site = Site(lambda _: encoder, tokenize_inline_bytes=100)
    site.encoders.follow([pool()])
    await site.loaded()
    assert await site.measure("short") == of_tokens(list(b'"short"'), "")
    waits = asyncio.ensure_future(site.measure("l" * 200))
    await eventually(lambda: len(encoder.threads) == 2)
    assert (site.measuring.waiting, waits.done()) == (1, False)
    encoder.gate.set()
    assert await waits == of_tokens(list(b'"' + b"l" * 200 + b'"'), "")
    assert encoder.threads[0] is threading.main_thread()
    assert encoder.threads[1] is not threading.main_thread()
    assert (site.measuring.waiting, site.counted("tokens")) == (0, 2.0)
    await site.close()


async def test_what_would_wait_too_long_for_a_thread_goes_by_its_bytes() -> None:
    encoder = Gated()
    site = Site(lambda _: encoder, tokenize_inline_bytes=0, tokenize_threads=1, tokenize_waiting_bytes=1000)
    site.encoders.follow([pool()])
    await site.loaded()
    first = asyncio.ensure_future(site.measure("a" * 5000))
    await eventually(lambda: site.measuring.waiting == 1)
    assert await site.measure("b" * 5000) == by_bytes("b" * 5000)
    assert site.counted("busy") == 1.0
    encoder.gate.set()
    assert (await first).tokenized, "however long: nobody else waited"
    await site.close()


async def test_what_cannot_be_tokenized_goes_by_its_bytes_and_is_counted_by_the_reason() -> None:
    encoder = Gated()
    encoder.gate.set()
    site = Site(lambda _: encoder, tokenize_inline_bytes=100)
    site.encoders.follow([pool()])
    await site.loaded()
    for text in ("no!", "no!" * 100):
        assert await site.measure(text) == by_bytes(text)
    assert (site.counted("media"), site.counted("tokens")) == (2.0, None)
    await site.close()


async def test_a_broken_tokenizer_is_told_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    broken = True
    tries = []

    def loading(wish: Tokenizer) -> Encoder:
        tries.append(wish)
        if broken:
            raise TokenizerUnusable(f"{wish.path} cannot be read")
        return Gated()

    site = Site(loading)
    site.encoders.follow([pool()])

    async def tried(times: int) -> bool:
        await site.clock.advance(TRY_AGAIN_S)
        return len(tries) >= times

    await eventually(lambda: tried(3))
    assert not (await site.measure("hello")).tokenized
    assert (site.is_loaded(), site.counted("not_loaded")) == (0.0, 1.0)
    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == [
        "ns/ms: prompts travel in byte blocks: /models/m cannot be read"
    ]
    broken = False
    tries_before = len(tries)
    await eventually(lambda: tried(tries_before + 1))
    await site.loaded()
    assert (await site.measure("hello")).tokenized
    assert site.is_loaded() == 1.0
    await site.close()


async def test_a_start_waits_until_each_tokenizer_was_tried_and_not_for_one_that_hangs() -> None:
    gate = threading.Event()

    def loading(wish: Tokenizer) -> Encoder:
        if wish.path == "/hangs":
            assert gate.wait(20)
        if wish.path == "/defect":
            raise ZeroDivisionError
        return Gated()

    site = Site(loading)
    await site.encoders.settle(10.0)
    site.encoders.follow([pool(), pool(Tokenizer("/defect"), "broken")])
    await site.encoders.settle(10.0)
    assert (site.is_loaded(), site.is_loaded("broken")) == (1.0, 0.0)
    site.encoders.follow([pool(Tokenizer("/hangs"))])
    waits = asyncio.ensure_future(site.encoders.settle(10.0))
    await site.clock.advance(9.0)
    assert not waits.done()
    await site.clock.advance(1.0)
    await waits
    assert site.is_loaded() == 0.0
    gate.set()
    await site.loaded()
    await site.close()


async def test_pools_come_change_and_go_and_equal_tokenizers_are_loaded_once() -> None:
    made: list[Tokenizer] = []

    def loading(wish: Tokenizer) -> Encoder:
        made.append(wish)
        return Gated()

    site, other = Site(loading), Tokenizer("/models/m", chat_template="{{ 1 }}")
    site.encoders.follow([pool(), pool(name="twin"), pool(None, "plain")])
    await site.loaded()
    first = site.encoders.of(("ns", "ms"))
    assert first is site.encoders.of(("ns", "twin"))
    site.encoders.follow([pool(), pool(other, "twin")])
    await site.loaded("twin")
    assert site.encoders.of(("ns", "ms")) is first
    assert made == [WISH, other]
    site.encoders.follow([pool(None)])
    assert site.encoders.of(("ns", "ms")) is None
    assert (site.is_loaded(), site.is_loaded("twin")) == (None, None)
    site.encoders.follow([pool()])
    await site.loaded()
    assert made == [WISH, other, WISH]
    await site.close()


@contextmanager
def written(folder: Path) -> Iterator[Encoder]:
    write_tokenizer(folder)
    yield load(Tokenizer(str(folder)))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encoder]:
    with written(tmp_path_factory.mktemp("tokenizer")) as made:
        yield made


MESSAGES = st.lists(
    st.builds(
        lambda role, text, times: {"role": role, "content": text * times},
        st.sampled_from(["system", "user", "assistant"]),
        st.text(max_size=12),
        st.integers(0, 80),
    ),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=60)
@given(MESSAGES, MESSAGES, st.sampled_from(["", "lora"]))
def test_a_longer_conversation_begins_with_the_blocks_of_the_shorter_one(encoder, begun, more, adapter) -> None:
    def prompt(messages: list[dict[str, str]]) -> Prompt:
        data = json.dumps({"model": "m", "messages": messages, "add_generation_prompt": False}).encode()
        return of_tokens(encoder.token_ids(body.read(data, "chat.completions"), "chat.completions"), adapter)

    short, long = prompt(begun), prompt(begun + more)
    assert long.block_hashes.startswith(short.block_hashes)
    assert short.tokenized
    assert len(short.block_hashes) == short.tokens // BLOCK_TOKENS * 8
    assert long.tokens > short.tokens


def test_an_agent_that_hears_the_ids_makes_the_same_names(encoder) -> None:
    data = json.dumps({"model": "m", "prompt": "the quick brown fox " * 200}).encode()
    ids = list(encoder.token_ids(body.read(data, "completions"), "completions"))
    told = [ids[start : start + 16] for start in range(0, len(ids), 16)]  # blocks as an engine has them
    names, chain = b"", b""
    for start in range(0, len(told) // 16 * 16, 16):
        block = [token for small in told[start : start + 16] for token in small]
        chain = block_hashes(block, "lora", after=chain)
        names += chain
    assert names == of_tokens(ids, "lora").block_hashes
    assert names
