"""An engine that names its blocks by their tokens: what it tells serves prompts of tokens only, and names that are made
otherwise than the gateway's are noticed."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b

import pytest

from matrixinfer.bus.block_hashes import block_hashes
from matrixinfer.bus.contracts.cache import BlocksStored, CacheEvent
from matrixinfer.bus.contracts.control import CacheDumped
from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.bus.contracts.load import Finished, WorkKey
from matrixinfer.handlers.dispatch.cache_index.sent_prompts import SentPrompts
from matrixinfer.handlers.dispatch.cache_index.told_caches import ToldCaches
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.cached import Cached
from matrixinfer.handlers.dispatch.scheduling.port import Knowledge
from support.scheduling import a_pod, a_request

BOOT = "b1"
PROMPTS = [list(range(first, first + 1100)) for first in range(0, 50_000, 10_000)]
TEXTS = [bytes([number]) * 5000 for number in range(5)]


def names(ids: Sequence[int], *, block_tokens: int = 256, seed: bytes = b"tokens\0", shift: int = 0) -> bytes:
    """As docs say them, written down once more; with what an agent or an engine may have otherwise."""
    link, found = blake2b(seed, digest_size=8).digest(), b""
    for start in range(0, len(ids) - block_tokens + 1, block_tokens):
        block = b"".join(struct.pack("<I", token + shift) for token in ids[start : start + block_tokens])
        link = blake2b(link + block, digest_size=8).digest()
        found += link
    return found


def told(hashes: bytes, *, tokens_only: bool = True) -> ToldCaches:
    """One pod's engine holds these."""
    caches = ToldCaches(4096, pace_s=0.0)
    caches.hear(CacheEvent("ns", "p1", BOOT, 0, tokens_only=tokens_only))
    ask = caches.next_ask(0.0)
    assert ask is not None
    caches.answered(ask, CacheDumped(BOOT, 0, blocks=[]), 0.0)
    caches.hear(CacheEvent("ns", "p1", BOOT, 1, [BlocksStored(hashes)], tokens_only=tokens_only))
    return caches


def serve(caches: ToldCaches, requests: Sequence[tuple[Request, int]]) -> None:
    """One a second, each answered with so many cached tokens."""
    pod = a_pod("p1")
    pod.meet(BOOT)
    for second, (request, cached_tokens) in enumerate(requests):
        caches.placed(request, pod, float(second))
        usage = Usage(request.prompt_tokens, cached_tokens, 1)
        caches.ended("p1", BOOT, [Finished(WorkKey(*request.key, 1), "completed", True, usage)])
        caches.tick(float(second))


def of_tokens(number: int) -> Request:
    ids = PROMPTS[number % len(PROMPTS)]
    return a_request(len(ids), key=(f"r{number}", 1), block_hashes=block_hashes(ids), tokenized=True)


def of_bytes(number: int) -> Request:
    text = TEXTS[number % len(TEXTS)]
    return a_request(len(text) // 4, key=(f"r{number}", 1), block_hashes=block_hashes(text))


@pytest.mark.parametrize(
    ("made", "suspected"),
    [({}, []), ({"shift": 1}, ["p1"]), ({"block_tokens": 128}, ["p1"]), ({"seed": b"tokens\0salt"}, ["p1"])],
    ids=["the same", "another tokenizer", "another block size", "another seed of the hash"],
)
def test_names_that_are_made_otherwise_are_noticed(made, suspected) -> None:
    caches = told(b"".join(names(ids, **made) for ids in PROMPTS))
    serve(caches, [(of_tokens(number), 1099) for number in range(60)])
    assert [suspicion.pod for suspicion in caches.suspicions()] == suspected
    assert caches.knows("p1") == (not suspected)


def test_prompts_in_byte_blocks_say_nothing_against_an_engine_that_names_tokens() -> None:
    caches = told(b"".join(map(names, PROMPTS)))
    serve(caches, [(of_bytes(number), 1024) for number in range(60)])
    assert caches.suspicions() == []
    assert (caches.knows("p1"), caches.knows_bytes("p1")) == (True, False)


def test_prompts_in_byte_blocks_go_by_what_was_sent_and_those_of_tokens_by_what_is_told() -> None:
    caches, sent, pod = told(names(PROMPTS[0])), SentPrompts(), a_pod("p1")
    pod.meet(BOOT)
    for request in (of_bytes(0), of_tokens(1)):
        sent.placed(request, pod, 0.0)
    knowledge = Knowledge(caches, sent)
    assert Cached.of(of_bytes(0), knowledge).believed() == {"p1": 1024.0}
    assert Cached.of(of_tokens(0), knowledge).believed() == {"p1": 1024.0}
    assert Cached.of(of_tokens(1), knowledge).believed() == {}, "it was sent, and the engine says that it is gone"


def test_an_engine_that_takes_over_the_envelopes_names_tells_of_either_kind() -> None:
    text = of_bytes(0)
    caches = told(text.block_hashes + names(PROMPTS[0]), tokens_only=False)
    knowledge = Knowledge(caches, SentPrompts())
    assert Cached.of(text, knowledge).believed() == {"p1": 1024.0}
    assert Cached.of(of_tokens(0), knowledge).believed() == {"p1": 1024.0}
    assert (caches.knows("p1"), caches.knows_bytes("p1")) == (True, True)


def test_a_pod_whose_next_life_has_another_engine_is_taken_as_that_one_says() -> None:
    caches = told(b"")
    caches.hear(CacheEvent("ns", "p1", "b2", 0))
    ask = caches.next_ask(0.0)
    assert ask is not None
    caches.answered(ask, CacheDumped("b2", 0, blocks=[]), 0.0)
    assert caches.knows_bytes("p1")
