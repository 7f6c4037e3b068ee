"""Cache events: what an engine stores and drops of its KV cache, on `mi.cache.<ns>.<pod>`, ten a second at most.

Blocks travel as in `Envelope.block_hashes`: 8 bytes each, packed, chained (`bus.block_hashes`), so parents need not be
told. Changes are in the order in which they happened; storing what is there and removing what is not changes nothing.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from matrixinfer.bus.contracts.codec import CONTRACT_VERSION

Tier = Literal["gpu", "cpu", "disk"]


class BlocksStored(msgspec.Struct, frozen=True, array_like=True, tag="stored", gc=False):
    """These blocks are in `tier` now, wherever else they are. `adapter` is for people: the hashes hold it already."""

    hashes: bytes
    tier: Tier = "gpu"
    adapter: str = ""


class BlocksRemoved(msgspec.Struct, frozen=True, array_like=True, tag="removed", gc=False):
    """These blocks are in `tier` no more; in other tiers they stay."""

    hashes: bytes
    tier: Tier = "gpu"
    adapter: str = ""


class CacheCleared(msgspec.Struct, frozen=True, array_like=True, tag="cleared", gc=False):
    """Nothing is in any tier now."""


CacheChange = BlocksStored | BlocksRemoved | CacheCleared


class CacheEvent(msgspec.Struct, frozen=True, array_like=True):
    """`sequence` counts the events of this boot from 1: after a gap only a dump (`control.CacheDump`) tells the truth.

    An event without changes is a reminder, once a second where nothing changes: it does not count, and repeats the last
    `sequence` (0: none yet), so that also the loss of the newest event is noticed.

    `tokens_only`: the engine names its blocks by their tokens, so nothing can be found there for a prompt that travels
    in byte blocks. Else it takes over the names that the envelope brings, whatever they are of.
    """

    namespace: str
    pod: str
    boot: str
    sequence: int
    changes: list[CacheChange] = []
    version: int = CONTRACT_VERSION
    tokens_only: bool = False
