"""The narrow ports of the bus: Queue, Signals, Store, Leases, Blobs, and Link, which tells how the connection is.

Each is a Protocol whose docstrings are promises, kept by the JetStream adapter (`bus.jetstream`) and by the memory
twin (`bus.memory`) alike; `tests/conformance` holds both to them. All handlers run on the event loop, are awaited
one at a time in the order of arrival for each subscription, and must not wait for anything slow: they start a task.
"""

from matrixinfer.bus.ports.blobs import Blobs
from matrixinfer.bus.ports.leases import Lease, Leases
from matrixinfer.bus.ports.link import Link
from matrixinfer.bus.ports.queue import Backlog, Consumer, Consumption, Delivery, Queue, Stored
from matrixinfer.bus.ports.signals import Signal, Signals, Subscription
from matrixinfer.bus.ports.store import Change, Entry, Store, Watch

__all__ = [
    "Backlog",
    "Blobs",
    "Change",
    "Consumer",
    "Consumption",
    "Delivery",
    "Entry",
    "Lease",
    "Leases",
    "Link",
    "Queue",
    "Signal",
    "Signals",
    "Store",
    "Stored",
    "Subscription",
    "Watch",
]
