"""Which shard of a pool a request goes to. Pure.

By chance: every shard gets the same share of every tenant's requests, so that what is fair in each queue is fair in the
whole, and one large tenant keeps all pods busy. A session stays with one shard: there its requests keep their order,
and meet the pods that hold its cache.
"""

from __future__ import annotations

import hashlib

from matrixinfer.gateway.pipeline.chance import Rng

_MULTIPLIER = 2862933555777941757
_MASK = (1 << 64) - 1


def shard_of(session: str, shards: int, rng: Rng) -> int:
    """In 0 to `shards - 1`. `session` is empty, or names a session among those of all tenants."""
    if shards <= 1:
        return 0
    if not session:
        return int(rng.random() * shards)
    return jump(int.from_bytes(hashlib.blake2b(session.encode(), digest_size=8).digest()), shards)


def jump(key: int, buckets: int) -> int:
    """Jump consistent hash (Lamping and Veach, arXiv 1406.2294): even, and where a bucket is added, a key stays or
    goes to the new one. `key` has 64 bits."""
    bucket, candidate = -1, 0
    while candidate < buckets:
        bucket = candidate
        key = (key * _MULTIPLIER + 1) & _MASK
        candidate = int((bucket + 1) * ((1 << 31) / ((key >> 33) + 1)))
    return bucket
