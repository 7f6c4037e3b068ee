"""The bus as one value: what a process is given when it connects, and hands on to its parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matrixinfer.bus.clock import Clock
from matrixinfer.bus.ports import Blobs, Leases, Link, Queue, Signals, Store
from matrixinfer.bus.subjects import Subjects


@dataclass(frozen=True)
class Bus:
    """One connection's ports. `store(bucket)` opens a bucket of the topology, e.g. `store("SERVING")`."""

    subjects: Subjects
    clock: Clock
    link: Link
    queue: Queue
    signals: Signals
    blobs: Blobs
    leases: Leases
    store: Callable[[str], Store]
