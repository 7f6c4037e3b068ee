"""Which dispatcher owns which shard of which pool: rendezvous hashing over the live holders of a lease.

Every process computes the same answer from the same holders; one that comes or goes moves only its own shards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import NamedTuple

from matrixinfer.bus.subjects import escape, key


class PoolShard(NamedTuple):
    namespace: str
    modelserver: str
    shard: int

    @property
    def claim_name(self) -> str:
        """The name under which its owner claims it in LEASES."""
        return key("pool", self.namespace, self.modelserver, str(self.shard))

    def consumer_name(self, epoch: int) -> str:
        """The durable consumer of one reign."""
        return f"d-{escape(self.namespace)}-{escape(self.modelserver)}-{self.shard}-{epoch}"


def owner(shard: PoolShard, holders: Collection[str]) -> str | None:
    """The holder with the highest hash; None when nobody holds a lease."""
    return max(holders, key=lambda holder: (_weight(shard, holder), holder), default=None)


def owned_by(me: str, shards: Iterable[PoolShard], holders: Collection[str]) -> set[PoolShard]:
    return {shard for shard in shards if owner(shard, holders) == me}


def _weight(shard: PoolShard, holder: str) -> bytes:
    text = f"{shard.claim_name}\n{holder}"
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
