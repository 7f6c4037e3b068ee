"""The one table of what exists on the server: streams, buckets, and which part may say and hear what.

`bus.jetstream.declare` makes the server agree with it, at start and after every reconnect;
`bus.server.permissions` generates the server's user permissions from it. Every stream has an age, a size and a count.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

MIB = 1024 * 1024

REQUIRED_API_LEVEL = 2
"""JetStream API level that schedules, per-message TTL and counters need (nats-server 2.12 and later)."""

MAX_PAYLOAD_BYTES = 8 * MIB
ACK_WAIT_REQUESTS_S = 3600.0
ACK_WAIT_WORK_S = 5.0
ACK_WAIT_RECONCILE_S = 5.0
LEASE_TTL_S = 2.0

BODIES = "BODIES"
"""The stream behind the Blobs port."""


class Part(StrEnum):
    """Who connects. Each has its own user on the server."""

    GATEWAY = "gateway"
    HANDLERS = "handlers"
    AGENT = "agent"
    NODE = "node"
    OPERATOR = "operator"


class Retention(StrEnum):
    WORK_QUEUE = "workqueue"
    LIMITS = "limits"


class Storage(StrEnum):
    FILE = "file"
    MEMORY = "memory"


@dataclass(frozen=True)
class Stream:
    """`subjects` are families below the prefix, e.g. `infer.>`. `per_subject` of 0 means no bound per subject.

    `refuse_when_full` refuses the new message (the bound is the caller's answer); else the oldest goes. `direct` lets
    any copy of the stream answer for the last message of a subject, without asking the leader.
    """

    name: str
    subjects: tuple[str, ...]
    retention: Retention
    storage: Storage
    max_age_s: float
    max_bytes: int
    max_messages: int
    per_subject: int = 0
    refuse_when_full: bool = True
    max_message_bytes: int = MAX_PAYLOAD_BYTES
    duplicate_window_s: float = 120.0
    schedules: bool = False
    direct: bool = False


@dataclass(frozen=True)
class Bucket:
    name: str
    storage: Storage
    max_bytes: int
    max_value_bytes: int = MIB


STREAMS: tuple[Stream, ...] = (
    Stream("REQUESTS", ("infer.>",), Retention.WORK_QUEUE, Storage.FILE, 3600.0, 1024 * MIB, 200_000, per_subject=4096),
    Stream(BODIES, ("body.>",), Retention.LIMITS, Storage.FILE, 3600.0, 2048 * MIB, 200_000, direct=True),
    Stream("WORK", ("work.>",), Retention.WORK_QUEUE, Storage.MEMORY, 3600.0, 256 * MIB, 100_000, per_subject=4096),
    Stream(
        "RECONCILE",
        ("reconcile.>", "later.RECONCILE.>"),
        Retention.WORK_QUEUE,
        Storage.FILE,
        86_400.0,
        64 * MIB,
        100_000,
        per_subject=1,
        refuse_when_full=False,
        max_message_bytes=64 * 1024,
        schedules=True,
    ),
    Stream(
        "DECISIONS",
        ("decision.>",),
        Retention.LIMITS,
        Storage.FILE,
        3600.0,
        256 * MIB,
        1_000_000,
        refuse_when_full=False,
    ),
    Stream("DEAD", ("dead.>",), Retention.LIMITS, Storage.FILE, 7 * 86_400.0, 64 * MIB, 10_000, refuse_when_full=False),
)

BUCKETS: tuple[Bucket, ...] = (
    Bucket("OBJECTS", Storage.FILE, 128 * MIB),
    Bucket("SERVING", Storage.FILE, 64 * MIB),
    Bucket("LEASES", Storage.FILE, 16 * MIB, max_value_bytes=4096),
    Bucket("REIGNS", Storage.FILE, 64 * MIB),
)


@dataclass(frozen=True)
class Rights:
    """Subject families below the prefix that a part may publish to and subscribe to, and what it does with stores.

    `pulls` are streams it consumes, `fetches` streams of which it reads single messages; `reads` and `writes` are
    buckets.
    """

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    pulls: tuple[str, ...] = ()
    fetches: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    everything: bool = field(default=False)


RIGHTS: dict[Part, Rights] = {
    Part.GATEWAY: Rights(
        publish=("infer.>", "body.>", "cancel.>", "where.>", "control.>"),
        subscribe=("frames.>", "api.>", "queue.>"),
        reads=("SERVING",),
    ),
    Part.HANDLERS: Rights(
        publish=(
            "work.>",
            "frames.>",
            "control.>",
            "handover.>",
            "queue.>",
            "decision.>",
            "dead.>",
            "reconcile.>",
            "later.>",
            "cluster.>",
        ),
        subscribe=("cancel.>", "where.>", "load.>", "cache.>", "cluster.>"),
        pulls=("REQUESTS", "RECONCILE"),
        reads=("OBJECTS", "SERVING", "LEASES", "REIGNS"),
        writes=("OBJECTS", "SERVING", "LEASES", "REIGNS"),
    ),
    Part.AGENT: Rights(
        publish=("frames.>", "load.>", "cache.>", "handover.>", "dead.>"),
        subscribe=("control.>", "handover.>"),
        pulls=("WORK",),
        fetches=(BODIES,),
        reads=("SERVING",),
    ),
    Part.NODE: Rights(
        publish=("control.>",),
        subscribe=("load.>",),
        reads=("OBJECTS",),
        writes=("OBJECTS", "LEASES"),
    ),
    Part.OPERATOR: Rights(everything=True),
}
"""Leases live in a bucket: a part that acquires leases writes LEASES."""
