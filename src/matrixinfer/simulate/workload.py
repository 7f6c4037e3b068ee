"""What comes in: requests with their times, sizes, tenants and prompt blocks, from a trace or a generator."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

BLOCK_TOKENS = 256
"""Size of a prompt block, of the envelope's hashes and of the engine's cache alike."""


class Arrival(msgspec.Struct, frozen=True, eq=False, kw_only=True, gc=False):
    """One request as its client knows it, and how long its answer will be, which nobody knows before.

    `blocks` are the chained 8-byte hashes of the prompt's whole 256-token blocks; a block that is the same in two
    prompts is one object. `at` is in seconds from the beginning.
    """

    rid: str
    at: float
    prompt_tokens: int
    output_tokens: int
    tenant: str = "default"
    session: str = ""
    blocks: tuple[bytes, ...] = ()


class Workload(msgspec.Struct, frozen=True):
    """`arrivals` ascend in time. With a `concurrency` above 0 the clients are a closed loop: so many requests are under
    way at most, and the next one is sent when one ends; 0 is an open loop, which does not wait."""

    name: str
    arrivals: Sequence[Arrival]
    concurrency: int = 0


class Blocks:
    """Makes block hashes out of names, each once: equal blocks are the same object, which makes their comparison cheap.

    The name must stand for the whole prompt up to the block's end, as a chained hash does.
    """

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def named(self, name: str) -> bytes:
        block = self._known.get(name)
        if block is None:
            block = self._known[name] = hashlib.blake2b(name.encode(), digest_size=8).digest()
        return block

    def run(self, name: str, count: int) -> tuple[bytes, ...]:
        """`count` blocks that follow each other under one name."""
        return tuple(self.named(f"{name}/{index}") for index in range(count))

    def fresh(self, name: str, count: int) -> tuple[bytes, ...]:
        """Like `run`, for blocks that come once: nothing is remembered."""
        return tuple(hashlib.blake2b(f"{name}/{index}".encode(), digest_size=8).digest() for index in range(count))


def scaled(workload: Workload, rate_scale: float) -> Workload:
    """The same requests, `rate_scale` times as fast."""
    if rate_scale == 1.0:
        return workload
    arrivals = [msgspec.structs.replace(arrival, at=arrival.at / rate_scale) for arrival in workload.arrivals]
    return Workload(workload.name, arrivals, workload.concurrency)
