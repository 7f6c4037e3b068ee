"""What Queue promises about storing, delivering and verdicts, kept by both adapters."""

from __future__ import annotations

import asyncio

import pytest

from matrixinfer.bus.contracts.codec import decode
from matrixinfer.bus.contracts.dead import DeadLetter
from matrixinfer.bus.errors import Malformed, QueueFull, TooLarge
from matrixinfer.bus.ports import Consumer, Delivery
from matrixinfer.bus.topology import MAX_PAYLOAD_BYTES, STREAMS
from support.bus_rig import Rig
from support.hands import Hands, consume, post_work, reconcile, requests, waits, work

BOUND = next(spec.per_subject for spec in STREAMS if spec.name == "REQUESTS")


async def test_a_stored_message_says_where_it_is(rig: Rig) -> None:
    subject = rig.bus.subjects.work("ns", "pod")
    first = await (await rig.bus.queue.post(subject, b"1", message_id="a"))
    second = await (await rig.bus.queue.post(subject, b"2", message_id="b"))
    assert (first.stream, first.duplicate) == ("WORK", False)
    assert second.sequence > first.sequence


async def test_the_same_message_id_is_stored_once(rig: Rig) -> None:
    subject = rig.bus.subjects.work("ns", "pod")
    first = await (await rig.bus.queue.post(subject, b"1", message_id="a"))
    again = await (await rig.other.queue.post(subject, b"1", message_id="a"))
    assert (again.sequence, again.duplicate) == (first.sequence, True)
    assert (await rig.bus.queue.backlog(work(rig.bus))).waiting == 1


async def test_a_bounded_subject_refuses_until_something_left(rig: Rig) -> None:
    subject = rig.bus.subjects.infer("ns", "ms", 0, "tenant")
    posts = [await rig.bus.queue.post(subject, b"", message_id=str(n)) for n in range(BOUND)]
    await asyncio.gather(*posts)
    with pytest.raises(QueueFull):
        await (await rig.bus.queue.post(subject, b"", message_id="over"))
    assert (await (await rig.bus.queue.post(subject, b"", message_id="0"))).duplicate, "a retry is no new message"
    neighbour = rig.bus.subjects.infer("ns", "ms", 0, "neighbour")
    assert not (await (await rig.bus.queue.post(neighbour, b"", message_id="n"))).duplicate

    hands, _ = await consume(rig.bus, requests(rig.bus), credits=1)
    await rig.until(lambda: hands.held)
    await hands.held[0].ack()
    for attempt in range(100):
        try:
            await (await rig.bus.queue.post(subject, b"", message_id=f"after{attempt}"))
            break
        except QueueFull:
            await rig.hold(0.01)
    else:
        pytest.fail("the acknowledgement made no room")


async def test_a_message_over_the_servers_limit_is_too_large(rig: Rig) -> None:
    subject = rig.bus.subjects.work("ns", "pod")
    with pytest.raises(TooLarge):
        await (await rig.bus.queue.post(subject, b"x" * (MAX_PAYLOAD_BYTES + 1), message_id="a"))


async def test_a_message_over_the_streams_limit_is_too_large(rig: Rig) -> None:
    subject = rig.bus.subjects.reconcile("Model", "ns", "m")
    with pytest.raises(TooLarge):
        await (await rig.bus.queue.post(subject, b"x" * 100_000, message_id="a"))


async def test_messages_are_delivered_in_the_order_of_their_posts_with_all_that_was_said(rig: Rig) -> None:
    bodies = [f"m{n}" for n in range(50)]
    await post_work(rig.bus, *bodies)
    hands, _ = await consume(rig.other, work(rig.bus))
    await rig.until(lambda: len(hands.held) == 50)
    assert [d.message_id for d in hands.held] == bodies
    assert [d.data.decode() for d in hands.held] == bodies
    assert {d.subject for d in hands.held} == {rig.bus.subjects.work("ns", "pod")}
    assert {d.delivered for d in hands.held} == {1}
    assert all(0 <= d.age_s < 5 for d in hands.held)


async def test_never_more_is_in_hand_than_was_granted(rig: Rig) -> None:
    await post_work(rig.bus, *[f"m{n}" for n in range(20)])
    hands, consumption = await consume(rig.bus, work(rig.bus), credits=3)
    await rig.until(lambda: len(hands.held) == 3)
    await rig.hold(0.2)
    assert len(hands.held) == 3
    for expected in (4, 6, 9, 20):
        consumption.grant(expected - len(hands.held))
        await rig.until(lambda expected=expected: len(hands.held) >= expected)  # type: ignore[misc]
        await rig.hold(0.05)
        assert len(hands.held) == expected
    assert len(set(hands.bodies)) == 20


async def test_credits_granted_one_by_one_keep_the_work_flowing(rig: Rig) -> None:
    done: list[str] = []

    async def finish(delivery: Delivery) -> None:
        await delivery.ack()
        done.append(delivery.message_id)
        consumption.grant(1)

    consumption = await rig.bus.queue.consume(work(rig.bus), finish, credits=2)
    await post_work(rig.other, *[f"m{n}" for n in range(300)])
    await rig.until(lambda: len(done) == 300)
    assert len(set(done)) == 300


async def test_two_readers_of_one_consumer_share_its_messages(rig: Rig) -> None:
    one, _ = await consume(rig.bus, work(rig.bus), credits=10)
    two, _ = await consume(rig.other, work(rig.bus), credits=10)
    await post_work(rig.bus, *[f"m{n}" for n in range(20)])
    await rig.until(lambda: len(one.held) + len(two.held) == 20)
    assert len({*one.bodies, *two.bodies}) == 20
    assert len(one.held) == 10


async def test_more_bytes_than_one_pull_takes_all_come(rig: Rig) -> None:
    size = MAX_PAYLOAD_BYTES - 4096
    subject = rig.bus.subjects.work("ns", "pod")
    posts = [await rig.bus.queue.post(subject, bytes([n]) * size, message_id=str(n)) for n in range(5)]
    await asyncio.gather(*posts)
    hands, _ = await consume(rig.bus, work(rig.bus), credits=5)
    await rig.until(lambda: len(hands.held) == 5)
    assert [d.data[0] for d in hands.held] == [0, 1, 2, 3, 4]


async def test_an_acknowledged_message_leaves_the_queue(rig: Rig) -> None:
    await post_work(rig.bus, "a", "b")
    hands, _ = await consume(rig.bus, work(rig.bus))
    await rig.until(lambda: len(hands.held) == 2)
    await hands.held[0].ack()
    await hands.held[0].ack()  # the same verdict again does no harm
    await rig.until(lambda: len(hands.held) == 3, within_s=2.0)
    assert hands.held[2].message_id == "b", "only the other one comes again"
    await hands.held[2].ack()
    await rig.hold(0.8)
    assert len(hands.held) == 3


async def test_what_was_given_back_comes_again_at_once(rig: Rig) -> None:
    await post_work(rig.bus, "a")
    hands, _ = await consume(rig.bus, work(rig.bus))
    await rig.until(lambda: hands.held)
    await hands.held[0].nak()
    await rig.until(lambda: len(hands.held) == 2, within_s=0.5)
    assert hands.held[1].delivered == 2


async def test_what_was_not_acknowledged_in_time_goes_to_another_reader(rig: Rig) -> None:
    await post_work(rig.bus, "a")
    first, stopped = await consume(rig.bus, work(rig.bus))
    await rig.until(lambda: first.held)
    await stopped.stop()
    second, _ = await consume(rig.other, work(rig.bus))
    await rig.until(lambda: second.held, within_s=2.0)
    assert (second.held[0].message_id, second.held[0].delivered) == ("a", 2)


async def test_work_in_progress_is_not_given_to_another(rig: Rig) -> None:
    await post_work(rig.bus, "a")
    first, _ = await consume(rig.bus, work(rig.bus), credits=1)
    second, _ = await consume(rig.other, work(rig.bus), credits=1)
    await rig.until(lambda: first.held or second.held)
    delivery = (first.held or second.held)[0]
    for _ in range(4):
        await rig.hold(0.3)
        await delivery.in_progress()
    assert len(first.held) + len(second.held) == 1
    await rig.until(lambda: len(first.held) + len(second.held) == 2, within_s=2.0)


async def test_a_message_past_its_time_to_live_is_not_delivered(rig: Rig) -> None:
    subject = rig.bus.subjects.work("ns", "pod")
    await (await rig.bus.queue.post(subject, b"short", message_id="a", ttl_s=1.0))
    await (await rig.bus.queue.post(subject, b"long", message_id="b", ttl_s=60.0))
    await rig.until(lambda: waits(rig, 1))
    hands, _ = await consume(rig.bus, work(rig.bus))
    await rig.until(lambda: hands.held)
    await rig.hold(0.1)
    assert hands.bodies == [b"long"]


async def test_a_stopped_reader_takes_no_more_and_returns_what_it_did_not_begin(rig: Rig) -> None:
    hands = Hands()
    gate = asyncio.Event()

    async def slow(delivery: Delivery) -> None:
        await hands(delivery)
        await gate.wait()

    await post_work(rig.bus, "a", "b", "c")
    consumer = Consumer("WORK", "a-pod", rig.bus.subjects.work("ns", "pod"), 60.0, 100)
    consumption = await rig.bus.queue.consume(consumer, slow, credits=3)
    await rig.until(lambda: hands.held)
    await consumption.stop()
    await consumption.stop()
    gate.set()
    others, _ = await consume(rig.other, consumer)
    await rig.until(lambda: len(others.held) == 2)
    assert sorted(others.bodies) == [b"b", b"c"]
    assert hands.bodies == [b"a"]


async def test_a_failing_handler_does_not_end_the_reading(rig: Rig) -> None:
    seen: list[bytes] = []

    async def fail_first(delivery: Delivery) -> None:
        seen.append(delivery.data)
        if delivery.data == b"a":
            raise RuntimeError("this handler fails on purpose")

    await rig.bus.queue.consume(work(rig.bus), fail_first, credits=2)
    await post_work(rig.bus, "a", "b")
    await rig.until(lambda: len(seen) == 2)
    assert seen == [b"a", b"b"]


async def test_the_backlog_tells_waiting_from_unacknowledged(rig: Rig) -> None:
    await post_work(rig.bus, "a", "b", "c")
    assert (await rig.bus.queue.backlog(work(rig.bus))).waiting == 3
    hands, _ = await consume(rig.bus, work(rig.bus), credits=1)
    await rig.until(lambda: hands.held)
    backlog = await rig.bus.queue.backlog(work(rig.bus))
    assert (backlog.waiting, backlog.unacknowledged) == (2, 1)


async def test_a_removed_message_is_not_delivered(rig: Rig) -> None:
    subject = rig.bus.subjects.work("ns", "pod")
    stored = await (await rig.bus.queue.post(subject, b"a", message_id="a"))
    await post_work(rig.bus, "b")
    assert await rig.bus.queue.remove(stored)
    assert not await rig.bus.queue.remove(stored)
    hands, _ = await consume(rig.bus, work(rig.bus))
    await rig.until(lambda: hands.held)
    assert hands.bodies == [b"b"]


async def test_a_newer_signal_for_an_object_takes_the_place_of_the_older(rig: Rig) -> None:
    subject = rig.bus.subjects.reconcile("Model", "ns", "m")
    for version in range(5):
        await (await rig.bus.queue.post(subject, b"%d" % version, message_id=f"uid:{version}"))
    hands, _ = await consume(rig.bus, reconcile(rig.bus))
    await rig.until(lambda: hands.held)
    await rig.hold(0.1)
    assert hands.bodies == [b"4"]


async def test_later_is_later_and_the_same_key_replaces(rig: Rig) -> None:
    subject = rig.bus.subjects.reconcile("Model", "ns", "m")
    other = rig.bus.subjects.reconcile("Model", "ns", "n")
    hands, _ = await consume(rig.bus, reconcile(rig.bus))
    await (await rig.bus.queue.post_later("RECONCILE", subject, b"old", after_s=0.5, key="m"))
    await (await rig.bus.queue.post_later("RECONCILE", subject, b"new", after_s=1.0, key="m"))
    await (await rig.bus.queue.post_later("RECONCILE", other, b"other", after_s=0.3, key="n"))
    await rig.until(lambda: hands.held)
    assert (hands.held[0].subject, hands.held[0].data) == (other, b"other")
    await hands.held[0].ack()
    await rig.until(lambda: len(hands.held) == 2, within_s=1.5)
    assert (hands.held[1].subject, hands.held[1].data) == (subject, b"new")


async def test_a_stream_without_schedules_takes_nothing_later(rig: Rig) -> None:
    with pytest.raises(Malformed):
        await (await rig.bus.queue.post_later("WORK", rig.bus.subjects.work("ns", "p"), b"", after_s=1.0, key="k"))


async def test_a_dead_letter_is_kept_once_with_its_reason(rig: Rig) -> None:
    letter = DeadLetter("WORK", rig.bus.subjects.work("ns", "pod"), "id", "two agents died", 1.0, b"body")
    await rig.bus.queue.bury(letter)
    await rig.bus.queue.bury(letter)
    reader = Consumer("DEAD", "reader", rig.bus.subjects.dead("WORK"), 60.0, 10)
    hands, _ = await consume(rig.bus, reader)
    await rig.until(lambda: hands.held)
    await rig.hold(0.1)
    assert [decode(data, DeadLetter) for data in hands.bodies] == [letter]
