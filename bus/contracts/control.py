"""Control: questions and orders to one agent on `mi.control.<ns>.<pod>`, request and reply.

"No responders" means that the agent is not there. Every reply carries the boot id: another boot is another agent.
"""

from __future__ import annotations

import msgspec

from matrixinfer.bus.contracts.cache import BlocksStored
from matrixinfer.bus.contracts.frames import Chunk
from matrixinfer.bus.contracts.load import Finished, Snapshot, WorkKey


class Abort(msgspec.Struct, frozen=True, array_like=True, tag="abort"):
    """Stop this work wherever it is: not yet pulled (refused when it comes), waiting or running."""

    keys: list[WorkKey]
    reason: str = "cancelled"


class ReplayItem(msgspec.Struct, frozen=True, array_like=True):
    key: WorkKey
    next_number: int


class Replay(msgspec.Struct, frozen=True, array_like=True, tag="replay"):
    """Give the chunks from `next_number` on of each item again."""

    items: list[ReplayItem]


class Dump(msgspec.Struct, frozen=True, array_like=True, tag="dump"):
    """What do you run, and what did you end of late? From now on refuse work of this pool older than `epoch`."""

    namespace: str
    modelserver: str
    shard: int
    epoch: int


class Drain(msgspec.Struct, frozen=True, array_like=True, tag="drain"):
    """Take no more work; finish what runs."""


class Ping(msgspec.Struct, frozen=True, array_like=True, tag="ping"):
    """Are you there? Answered with Done."""


class CacheDump(msgspec.Struct, frozen=True, array_like=True, tag="cache_dump"):
    """What is in your cache? Asked chunk by chunk: without arguments for the first, then with `sequence` and `more` of
    the answer before."""

    sequence: int = 0
    cursor: int = 0


Order = Abort | Replay | Dump | Drain | Ping | CacheDump


class Done(msgspec.Struct, frozen=True, array_like=True, tag="done"):
    boot: str


class Replayed(msgspec.Struct, frozen=True, array_like=True, tag="replayed"):
    """`chunks` are the missing ones in order; `unknown` holds what this boot never ran or no longer remembers."""

    boot: str
    chunks: list[Chunk]
    unknown: list[WorkKey]


class Dumped(msgspec.Struct, frozen=True, array_like=True, tag="dumped"):
    """`sequence` is that of the last load event before this answer."""

    boot: str
    sequence: int
    draining: bool
    snapshot: Snapshot
    finished: list[Finished]


class CacheDumped(msgspec.Struct, frozen=True, array_like=True, tag="cache_dumped"):
    """One chunk of the cache as it was right after the cache event `sequence` of this boot, or a little later: what
    came in between is in the next events as well, where it changes nothing.

    The agent keeps that state until its chunks are fetched. `cursor` is where this chunk begins; `more` is where the
    next one does, 0 after the last. An agent that no longer has the state that was asked for answers with the first
    chunk (`cursor` 0) of a newer one. About 4,096 blocks make a chunk: few milliseconds of the asker's time.
    """

    boot: str
    sequence: int
    cursor: int = 0
    more: int = 0
    blocks: list[BlocksStored] = []


Reply = Done | Replayed | Dumped | CacheDumped
