"""Which shard a request goes to: even by chance, and one for each session."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.serving import Pool, pool_key
from matrixinfer.gateway.pipeline.intake import SESSION_HEADER, Ask
from matrixinfer.gateway.pipeline.sharding import jump, shard_of
from unit.gateway.conftest import Rig
from unit.gateway.farside import MODEL, MODELSERVER, NAMESPACE

KEYS = st.integers(0, (1 << 64) - 1)


@given(KEYS, st.integers(1, 64))
def test_where_a_shard_is_added_a_session_stays_or_goes_to_the_new_one(key, shards):
    assert jump(key, shards + 1) in {jump(key, shards), shards}


@given(KEYS, st.integers(1, 64))
def test_a_session_goes_to_a_shard_that_exists(key, shards):
    assert 0 <= jump(key, shards) < shards


@given(st.text(min_size=1), st.integers(1, 64), st.integers())
def test_a_session_has_one_shard_whatever_chance_says(session, shards, seed):
    chosen = {shard_of(session, shards, rng) for rng in (Random(seed), Random(seed + 1))}
    assert len(chosen) == 1


def test_sessions_and_requests_without_one_spread_evenly():
    rng = Random(1)
    sessions = Counter(shard_of(f"tenant/{number}", 8, rng) for number in range(8000))
    requests = Counter(shard_of("", 8, rng) for _ in range(8000))
    assert all(900 < spread[shard] < 1100 for spread in (sessions, requests) for shard in range(8))


async def test_the_requests_of_a_session_go_to_one_shard_and_those_without_one_to_all(rig: Rig):
    pool = Pool(NAMESPACE, MODELSERVER, "Simulated", shards=4)
    await rig.bus.store("SERVING").put(pool_key(NAMESPACE, MODELSERVER), encode(pool))
    await rig.clock.advance(0)

    async def ask(session: bytes) -> Envelope:
        body = b'{"model": "%s", "messages": [{"role": "user"}]}' % MODEL.encode()
        ask = Ask("", "chat.completions", "acme", {SESSION_HEADER: session} if session else {}, body)
        exchange = await rig.worker.intake.begin(ask)
        rig.worker.relay.forget(exchange)
        return exchange.envelope

    together = [await ask(b"chat-7") for _ in range(20)]
    alone = [await ask(b"") for _ in range(60)]
    assert {envelope.session for envelope in together} == {"chat-7"}
    assert len({envelope.shard for envelope in together}) == 1
    assert {envelope.shard for envelope in alone} == {0, 1, 2, 3}
