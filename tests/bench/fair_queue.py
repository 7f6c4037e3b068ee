"""The fair queue beside the FIFO queue of the same run: microseconds for each request that is taken and replaced."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.handlers.dispatch.fair.locality import Affinity
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.request import Request

WAITING = 10_000
TENANTS = 1_000
BATCH = 200
BATCHES = 100
NOW = 100.0


class NoMessage:
    subject = message_id = ""
    data = b""

    async def ack(self) -> None:
        raise AssertionError("a queue acknowledges nothing")


class Row(NamedTuple):
    """Microseconds of CPU."""

    name: str
    dequeue_us: float
    """head, remove and charge."""
    push_us: float
    correct_us: float


def request(order: int, rng: Random, *, priorities: int = 1) -> Request:
    return Request(
        key=(f"r{order}", 1),
        tenant=f"t{rng.randrange(TENANTS)}",
        gateway="g",
        prompt_tokens=rng.randrange(100, 8000),
        size_bytes=1000,
        order=order,
        since=NOW - rng.random() * 60,
        deadline=1000.0 + order,
        held=NoMessage(),
        reign=1,
        priority=rng.randrange(priorities),
    )


def _work_of(request: Request) -> WorkKey:
    return WorkKey(*request.key, 1)


def fifo() -> Row:
    queue: deque[Request] = deque()

    def dequeue(now: float) -> Request | None:
        return queue.popleft() if queue else None

    return measured("first in, first out", queue.append, dequeue, lambda request: None)


def fair(name: str, *, priorities: int = 1, affinity: Affinity | None = None, asks: bool = False) -> Row:
    queue = FairQueue()

    def dequeue(now: float) -> Request | None:
        head = queue.head(now, affinity)
        if head is not None:
            queue.remove(head)
            queue.charge(head, _work_of(head), "p")
        if asks:
            queue.position(next(iter(queue)))
        return head

    def correct(request: Request) -> None:
        queue.correct(_work_of(request), request.prompt_tokens, request.order % 500)

    return measured(name, queue.push, dequeue, correct, priorities=priorities)


def measured(
    name: str,
    push: Callable[[Request], None],
    dequeue: Callable[[float], Request | None],
    correct: Callable[[Request], None],
    *,
    priorities: int = 1,
) -> Row:
    """Always about WAITING requests of TENANTS tenants: a batch is taken out, as many come, and the batch ends."""
    rng = Random(1)
    requests = [request(order, rng, priorities=priorities) for order in range(WAITING + BATCH * BATCHES)]
    for each in requests[:WAITING]:
        push(each)
    taking = coming = ending = 0.0
    for at in range(WAITING, len(requests), BATCH):
        began = time.process_time()
        taken = [dequeue(NOW + at * 0.001) for _ in range(BATCH)]
        took = time.process_time()
        for each in requests[at : at + BATCH]:
            push(each)
        came = time.process_time()
        for one in taken:
            if one is not None:
                correct(one)
        taking, coming, ending = taking + took - began, coming + came - took, ending + time.process_time() - came
    return Row(name, *(spent / (BATCH * BATCHES) * 1e6 for spent in (taking, coming, ending)))


def main(console: Console | None = None) -> None:
    rows = [
        fifo(),
        fair("fair"),
        fair("fair, 4 priorities", priorities=4),
        fair("fair, cached prefixes asked at no cost", affinity=lambda request: request.order % 4096),
        fair("fair, and a position asked each time", asks=True),
    ]
    table = Table("queue", "dequeue µs", "of FIFO", "push µs", "correct µs")
    table.title = f"{WAITING:,} waiting requests of {TENANTS:,} tenants; CPU for each"
    for row in rows:
        times = row.dequeue_us / rows[0].dequeue_us
        table.add_row(row.name, f"{row.dequeue_us:.1f}", f"{times:.1f}", f"{row.push_us:.1f}", f"{row.correct_us:.1f}")
    (console or Console(width=120)).print(table)


if __name__ == "__main__":
    main()
