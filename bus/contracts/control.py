"""Control: questions and orders to one agent on `mi.control.<ns>.<pod>`, request and reply.

"No responders" means that the agent is not there. Every reply carries the boot id: another boot is another agent.
"""

from __future__ import annotations

import msgspec

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


Order = Abort | Replay | Dump | Drain | Ping


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


Reply = Done | Replayed | Dumped
