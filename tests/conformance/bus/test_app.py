"""What a control-plane application does with its handlers' ends, over FastStream and on the memory bus alike."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from matrixinfer.bus.app import ControlApp, Duty, Handle, Patience
from matrixinfer.bus.contracts.codec import decode
from matrixinfer.bus.contracts.dead import DeadLetter
from matrixinfer.bus.errors import Reject, Retry
from matrixinfer.bus.ports import Consumer, Delivery
from support.bus_rig import Rig

PATIENCE = Patience(deliveries=3, first_wait_s=0.05, last_wait_s=0.1)


@contextlib.asynccontextmanager
async def serving(rig: Rig, handle: Handle, *, ack_wait_s: float = 0.8) -> AsyncIterator[asyncio.Task[None]]:
    """All of RECONCILE as one partition: one message in hand at a time."""
    consumer = Consumer("RECONCILE", "recon", f"{rig.bus.subjects.prefix}.reconcile.>", ack_wait_s, max_ack_pending=1)
    app = ControlApp(rig.bus, rig.settings, [Duty(consumer, handle)], PATIENCE)
    task = asyncio.create_task(app.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def signal(rig: Rig, name: str, data: bytes = b"") -> str:
    subject = rig.other.subjects.reconcile("Model", "ns", name)
    await (await rig.other.queue.post(subject, data, message_id=f"{name}:1"))
    return subject


async def dead_letters(rig: Rig) -> list[DeadLetter]:
    letters: list[DeadLetter] = []

    async def read(delivery: Delivery) -> None:
        letters.append(decode(delivery.data, DeadLetter))

    reader = Consumer("DEAD", "reader", rig.bus.subjects.dead("RECONCILE"), 60.0, 100)
    consumption = await rig.other.queue.consume(reader, read, credits=100)
    await rig.hold(0.1)
    await consumption.stop()
    return letters


async def waiting(rig: Rig) -> int:
    everything = Consumer("RECONCILE", "recon", f"{rig.bus.subjects.prefix}.reconcile.>", 1.0, 1)
    backlog = await rig.other.queue.backlog(everything)
    return backlog.waiting + backlog.unacknowledged


async def test_a_handler_gets_subject_and_data_and_its_return_ends_the_message(rig: Rig) -> None:
    seen: list[tuple[str, bytes]] = []

    async def handle(subject: str, data: bytes) -> None:
        seen.append((subject, data))

    async with serving(rig, handle):
        sent = [(await signal(rig, f"m{n}", b"\xff\x00%d" % n), b"\xff\x00%d" % n) for n in range(5)]
        await rig.until(lambda: len(seen) == 5)
        await rig.hold(1.0)
        assert seen == sent
        assert await waiting(rig) == 0


async def test_one_message_of_a_partition_is_in_work_at_a_time(rig: Rig) -> None:
    in_work = 0
    seen: list[str] = []

    async def handle(subject: str, _: bytes) -> None:
        nonlocal in_work
        in_work += 1
        assert in_work == 1
        await rig.bus.clock.sleep(0.02)
        in_work -= 1
        seen.append(subject)

    async with serving(rig, handle):
        for n in range(5):
            await signal(rig, f"m{n}")
        await rig.until(lambda: len(seen) == 5)


async def test_a_retry_comes_again_later_and_holds_nobody_up(rig: Rig) -> None:
    seen: list[str] = []

    async def handle(subject: str, _: bytes) -> None:
        name = rig.bus.subjects.parse_reconcile(subject).name
        seen.append(name)
        if name == "slow" and seen.count("slow") == 1:
            raise Retry(1.0, "not ready")

    async with serving(rig, handle):
        await signal(rig, "slow")
        await rig.until(lambda: seen == ["slow"])
        await signal(rig, "quick")
        await rig.until(lambda: seen == ["slow", "quick"], within_s=0.8)
        await rig.until(lambda: seen == ["slow", "quick", "slow"], within_s=3.0)
    assert await dead_letters(rig) == []


async def test_a_rejected_message_becomes_a_dead_letter_with_the_reason(rig: Rig) -> None:
    async def handle(subject: str, _: bytes) -> None:
        raise Reject("no such kind")

    async with serving(rig, handle):
        subject = await signal(rig, "m", b"body")
        await rig.hold(0.3)
        letters = await dead_letters(rig)
        assert [(x.stream, x.subject, x.message_id, x.reason, x.data) for x in letters] == [
            ("RECONCILE", subject, "m:1", "no such kind", b"body")
        ]
        assert await waiting(rig) == 0


async def test_a_defect_is_tried_again_a_few_times_and_then_buried_and_others_go_on(rig: Rig) -> None:
    seen: list[str] = []

    async def handle(subject: str, _: bytes) -> None:
        name = rig.bus.subjects.parse_reconcile(subject).name
        seen.append(name)
        if name == "bad":
            raise ZeroDivisionError("this handler fails on purpose")

    async with serving(rig, handle):
        await signal(rig, "bad")
        await signal(rig, "good")
        await rig.until(lambda: seen.count("bad") == PATIENCE.deliveries and "good" in seen)
        await rig.hold(0.3)
        assert seen.count("bad") == PATIENCE.deliveries
        (letter,) = await dead_letters(rig)
        assert letter.reason == "failed 3 times, last with ZeroDivisionError: this handler fails on purpose"


async def test_long_work_is_not_delivered_to_another_meanwhile(rig: Rig) -> None:
    begun: list[str] = []
    ended: list[str] = []

    async def handle(subject: str, _: bytes) -> None:
        begun.append(subject)
        await rig.bus.clock.sleep(1.5)
        ended.append(subject)

    async with serving(rig, handle, ack_wait_s=0.6):
        await signal(rig, "m")
        await rig.until(lambda: ended)
        await rig.hold(0.2)
        assert len(begun) == 1
        assert await waiting(rig) == 0


async def test_what_is_in_work_when_the_application_ends_is_given_back(rig: Rig) -> None:
    begun: list[str] = []

    async def handle(subject: str, _: bytes) -> None:
        begun.append(subject)
        if len(begun) == 1:
            await asyncio.Event().wait()

    async with serving(rig, handle, ack_wait_s=60.0) as task:
        await signal(rig, "m")
        await rig.until(lambda: begun)
        task.cancel()
        await rig.until(task.done, within_s=10.0)
    async with serving(rig, handle, ack_wait_s=60.0):
        await rig.until(lambda: len(begun) == 2)
