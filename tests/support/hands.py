"""Posting to and reading from the streams in tests: short words for consumers, posts and what came."""

from __future__ import annotations

import asyncio

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.errors import Unavailable
from matrixinfer.bus.ports import Consumer, Consumption, Delivery
from support.bus_rig import Rig


class Hands:
    """A handler that keeps what it is given."""

    def __init__(self) -> None:
        self.held: list[Delivery] = []

    async def __call__(self, delivery: Delivery) -> None:
        self.held.append(delivery)

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.data for delivery in self.held]


def work(bus: Bus, pod: str = "pod") -> Consumer:
    return Consumer("WORK", f"a-{pod}", bus.subjects.work("ns", pod), ack_wait_s=0.6, max_ack_pending=1000)


def requests(bus: Bus, epoch: int = 1) -> Consumer:
    name, filter = f"d-ns-ms-0-{epoch}", bus.subjects.infer_filter("ns", "ms", 0)
    return Consumer("REQUESTS", name, filter, 3600.0, 20_000, exclusive=True, epoch=epoch)


def reconcile(bus: Bus) -> Consumer:
    return Consumer("RECONCILE", "recon", f"{bus.subjects.prefix}.reconcile.>", ack_wait_s=1.0, max_ack_pending=100)


async def post_work(bus: Bus, *bodies: str, pod: str = "pod") -> None:
    subject = bus.subjects.work("ns", pod)
    await asyncio.gather(*[await bus.queue.post(subject, body.encode(), message_id=body) for body in bodies])


async def consume(bus: Bus, consumer: Consumer, credits: int = 100) -> tuple[Hands, Consumption]:
    hands = Hands()
    return hands, await bus.queue.consume(consumer, hands, credits=credits)


async def waits(rig: Rig, count: int) -> bool:
    return (await rig.bus.queue.backlog(work(rig.bus))).waiting == count


async def consume_when_possible(rig: Rig, consumer: Consumer) -> tuple[Hands, Consumption]:
    for _ in range(100):
        try:
            return await consume(rig.other, consumer)
        except Unavailable:
            await rig.hold(0.05)
    raise AssertionError("the stream did not come back")


async def post_when_possible(rig: Rig, body: str) -> None:
    for _ in range(100):
        try:
            await post_work(rig.other, body)
        except Unavailable:
            await rig.hold(0.05)
        else:
            return
    raise AssertionError("the stream did not come back")
