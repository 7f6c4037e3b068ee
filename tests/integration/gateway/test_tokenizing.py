"""A gateway that listens, and pools whose tokenizers come, change, break and go: what its envelopes say of prompts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from integration.gateway.conftest import Site, running
from matrixinfer.bus.block_hashes import BLOCK_TOKENS, block_hashes
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.serving import Pool, Tokenizer, pool_key
from matrixinfer.gateway.pipeline import body
from matrixinfer.gateway.pipeline.prompt import measure
from support.eventually import eventually
from support.tokenizer import write_tokenizer
from unit.gateway.farside import MODEL, MODELSERVER, NAMESPACE

SYSTEM = {"role": "system", "content": "the quick brown fox jumps over the lazy dog. " * 100}
USER = {"role": "user", "content": "and what is the capital of France?"}


async def name_tokenizer(site: Site, tokenizer: Tokenizer | None) -> None:
    pool = Pool(NAMESPACE, MODELSERVER, "Simulated", tokenizer=tokenizer)
    await site.bus.store("SERVING").put(pool_key(NAMESPACE, MODELSERVER), encode(pool))


async def metric(http: httpx.AsyncClient, name: str, **labels: str) -> float | None:
    for line in (await http.get("/metrics")).text.splitlines():
        if line.startswith(f"matrixinfer_gateway_{name}{{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
            return float(line.rpartition(" ")[2])
    return None


def has(http: httpx.AsyncClient, value: float | None, name: str, **labels: str) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return await metric(http, name, **labels) == value

    return asked


async def envelope_of(site: Site, http: httpx.AsyncClient, path: str, **fields: object) -> Envelope:
    async def answer(envelope: Envelope) -> None:
        await site.far.stream(envelope, [b'{"id": 1}'])

    site.far.script = answer
    response = await http.post(f"/v1/{path}", json={"model": MODEL, **fields})
    assert response.status_code == 200, response.text
    return site.far.envelopes[-1]


async def test_envelopes_say_exactly_how_long_a_prompt_is_and_name_its_blocks_by_their_tokens(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path)
    async with running(tokenize_inline_bytes=1000) as site:
        http = site.http()
        await name_tokenizer(site, Tokenizer(str(tmp_path)))
        await eventually(has(http, 1.0, "tokenizer_loaded", modelserver=f"{NAMESPACE}/{MODELSERVER}"))
        for messages in ([USER], [SYSTEM, USER]):  # on the loop, and in a thread
            chat = await envelope_of(site, http, "chat/completions", messages=messages)
            text = "<s>" + "".join(f"<|{m['role']}|>{m['content']}<|end|>\n" for m in messages) + "<|assistant|>"
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            assert (chat.tokenized, chat.prompt_tokens, chat.block_hashes) == (True, len(ids), block_hashes(ids))
        assert len(ids) > 2 * BLOCK_TOKENS
        for prompt in (SYSTEM["content"], list(range(600))):
            ids = tokenizer.encode(prompt).ids if isinstance(prompt, str) else prompt
            found = await envelope_of(site, http, "completions", prompt=prompt)
            assert (found.tokenized, found.prompt_tokens, found.block_hashes) == (True, len(ids), block_hashes(ids))
        assert await metric(http, "prompts_total", how="tokens") == 4.0


async def test_a_longer_conversation_begins_with_the_blocks_of_the_shorter_one(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    async with running() as site:
        http = site.http()
        await name_tokenizer(site, Tokenizer(str(tmp_path)))
        await eventually(has(http, 1.0, "tokenizer_loaded"))
        short = await envelope_of(site, http, "chat/completions", messages=[SYSTEM, USER])
        answered = [SYSTEM, USER, {"role": "assistant", "content": "Paris. " * 400}, USER]
        long = await envelope_of(site, http, "chat/completions", messages=answered)
        assert short.block_hashes
        assert long.block_hashes.startswith(short.block_hashes)
        assert len(long.block_hashes) > len(short.block_hashes)


async def test_a_tokenizer_comes_changes_breaks_and_goes_while_requests_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_tokenizer(tmp_path / "one")
    write_tokenizer(tmp_path / "two", lines=("Die Grammatik und das Wörterbuch", "der schnelle braune Fuchs"))
    asked = {"model": MODEL, "messages": [SYSTEM, USER]}
    by_bytes = measure(body.read(httpx.Request("POST", "http://x", json=asked).content, "chat.completions"), "")
    async with running() as site:
        http = site.http()

        async def hashes() -> bytes:
            envelope = await envelope_of(site, http, "chat/completions", messages=[SYSTEM, USER])
            if not envelope.tokenized:
                assert (envelope.prompt_tokens, envelope.block_hashes) == by_bytes[:2]
            return envelope.block_hashes

        assert await hashes() == by_bytes.block_hashes
        found: set[bytes] = set()
        for name in ("one", "two"):
            await name_tokenizer(site, Tokenizer(str(tmp_path / name)))

            async def is_new(known: frozenset[bytes] = frozenset({*found, by_bytes.block_hashes})) -> bool:
                return await hashes() not in known

            await eventually(is_new)
            found.add(await hashes())
        assert len(found) == 2
        await name_tokenizer(site, Tokenizer(str(tmp_path / "nowhere")))
        await eventually(has(http, 0.0, "tokenizer_loaded"))
        assert await hashes() == by_bytes.block_hashes
        assert (await metric(http, "prompts_total", how="not_loaded") or 0) >= 1
        await eventually(lambda: f"{tmp_path}/nowhere" in caplog.text)
        await name_tokenizer(site, None)
        await eventually(has(http, None, "tokenizer_loaded"))
        assert await hashes() == by_bytes.block_hashes


async def test_what_cannot_be_tokenized_is_answered_all_the_same_and_counted(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, template="{{ raise_exception('no') if messages | length > 1 else messages[0].content }}")
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    async with running() as site:
        http = site.http()
        await name_tokenizer(site, Tokenizer(str(tmp_path)))
        await eventually(has(http, 1.0, "tokenizer_loaded"))
        for messages in ([USER, USER], [{"role": "user", "content": picture}]):
            assert not (await envelope_of(site, http, "chat/completions", messages=messages)).tokenized
        assert not (await envelope_of(site, http, "completions", prompt=["one", "two"])).tokenized
        for how in ("template_failed", "media", "several_prompts"):
            assert await metric(http, "prompts_total", how=how) == 1.0


@pytest.mark.parametrize(("asked", "status"), [("-3", 200), ("0", 200), ("1", 400), ("first", 400)])
async def test_clients_can_step_back_and_not_jump_the_queue(site: Site, asked: str, status: int) -> None:
    async def answer(envelope: Envelope) -> None:
        await site.far.stream(envelope, [b'{"id": 1}'])

    site.far.script = answer
    fields = {"model": MODEL, "messages": [USER], "priority": 4}
    response = await site.http().post("/v1/chat/completions", json=fields, headers={"x-priority": asked})
    assert response.status_code == status
    if status == 200:
        assert site.far.envelopes[0].priority == int(asked)
    else:
        assert "a whole number from -4 to 0" in response.json()["error"]["message"]


async def test_a_gateway_may_let_its_clients_ask_for_more() -> None:
    async with running(highest_priority=2) as site:

        async def answer(envelope: Envelope) -> None:
            await site.far.stream(envelope, [b'{"id": 1}'])

        site.far.script = answer
        fields = {"model": MODEL, "messages": [USER]}
        await site.http().post("/v1/chat/completions", json=fields, headers={"x-priority": "2"})
        await site.http().post("/v1/chat/completions", json=fields)
        assert [envelope.priority for envelope in site.far.envelopes] == [2, 0]
