"""What Queue promises about readers that are fenced, cut off, or lose their stream, kept by both adapters."""

from __future__ import annotations

import pytest

from matrixinfer.bus.errors import Conflict, LeaseLost
from matrixinfer.bus.ports import Backlog, Consumer
from support.bus_rig import Rig
from support.hands import consume, consume_when_possible, post_when_possible, post_work, requests, work


async def test_an_exclusive_successor_fences_the_former_reader(rig: Rig) -> None:
    subject = rig.bus.subjects.infer("ns", "ms", 0, "tenant")
    await (await rig.bus.queue.post(subject, b"1", message_id="1"))
    old, _ = await consume(rig.bus, requests(rig.bus, epoch=1))
    await rig.until(lambda: old.held)
    new, _ = await consume(rig.other, requests(rig.bus, epoch=2))
    await rig.until(lambda: new.held)
    assert new.held[0].message_id == "1", "what the former held is delivered anew"

    await old.held[0].ack()
    await (await rig.bus.queue.post(subject, b"2", message_id="2"))
    await rig.until(lambda: len(new.held) == 2)
    await rig.hold(1.0)  # the former would have come back by now
    assert len(old.held) == 1
    assert (await rig.bus.queue.backlog(requests(rig.bus, epoch=2))).unacknowledged == 2, "the late ack had no effect"


async def test_a_superseded_reader_does_not_come_back_with_its_connection(rig: Rig) -> None:
    subject = rig.bus.subjects.infer("ns", "ms", 0, "tenant")
    old, _ = await consume(rig.bus, requests(rig.bus, epoch=1))
    await rig.cut()
    new, _ = await consume(rig.other, requests(rig.bus, epoch=2))
    await rig.mend()
    await rig.until(rig.bus.link.is_up)
    await rig.hold(1.0)
    await (await rig.other.queue.post(subject, b"1", message_id="1"))
    await rig.until(lambda: new.held)
    assert not old.held


async def test_an_exclusive_consumer_of_an_older_epoch_does_not_displace_a_later_one(rig: Rig) -> None:
    await consume(rig.bus, requests(rig.bus, epoch=2))
    with pytest.raises(LeaseLost):
        await consume(rig.other, requests(rig.bus, epoch=1))


async def test_a_second_consumer_of_the_same_messages_is_refused(rig: Rig) -> None:
    await consume(rig.bus, work(rig.bus))
    with pytest.raises(Conflict):
        await consume(rig.other, Consumer("WORK", "second", rig.bus.subjects.work("ns", "pod"), 1.0, 10))


async def test_reading_goes_on_after_a_reconnect_and_a_buffered_verdict_counts(rig: Rig) -> None:
    await post_work(rig.other, "a")
    consumer = Consumer("WORK", "a-pod", rig.bus.subjects.work("ns", "pod"), 60.0, 100)
    hands, _ = await consume(rig.bus, consumer)
    await rig.until(lambda: hands.held)
    await rig.cut()
    await post_work(rig.other, "b")
    await hands.held[0].ack()
    await rig.mend()
    await rig.until(lambda: len(hands.held) == 2, within_s=10.0)
    assert hands.bodies == [b"a", b"b"]
    assert (await rig.other.queue.backlog(consumer)).unacknowledged == 1


async def test_reading_goes_on_after_the_server_lost_its_memory_streams(rig: Rig) -> None:
    await post_work(rig.bus, "lost")
    await (await rig.bus.queue.post(rig.bus.subjects.infer("ns", "ms", 0, "t"), b"kept", message_id="kept"))
    hands, _ = await consume(rig.bus, work(rig.bus))
    await rig.until(lambda: hands.held)
    await rig.restart()
    kept, _ = await consume_when_possible(rig, requests(rig.bus))
    await rig.until(lambda: kept.held)
    assert kept.bodies == [b"kept"], "what is on file survives"
    await post_when_possible(rig, "after")
    await rig.until(lambda: b"after" in hands.bodies)
    assert hands.bodies == [b"lost", b"after"]


@pytest.mark.parametrize(("is_late", "expected"), [(True, [b"new"]), (False, [b"old", b"new"])])
async def test_a_reader_of_history_begins_at_its_time_and_knows_when_it_has_read_all(
    rig: Rig, is_late: bool, expected: list[bytes]
) -> None:
    subject = rig.bus.subjects.decision("ns", "ms")
    await (await rig.bus.queue.post(subject, b"old", message_id="old"))
    await rig.hold(0.5)
    since = rig.bus.clock.now() if is_late else None
    await rig.hold(0.5)
    await (await rig.bus.queue.post(subject, b"new", message_id="new"))
    reader = Consumer("DECISIONS", "reader", rig.bus.subjects.decision_filter(), 60.0, 10, since=since, unused_s=30.0)

    hands, _ = await consume(rig.bus, reader)
    await rig.until(lambda: len(hands.held) == len(expected))
    assert hands.bodies == expected
    assert (await rig.bus.queue.backlog(reader)) == Backlog(0, len(expected))
    for delivery in hands.held:
        await delivery.ack()

    async def is_read() -> bool:
        return await rig.bus.queue.backlog(reader) == Backlog(0, 0)

    await rig.until(is_read)
