"""Which shard a request goes to: even by chance, and one for each session."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.gateway.pipeline.sharding import jump, shard_of

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
