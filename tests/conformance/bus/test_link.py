"""What Link promises, kept by both adapters."""

from __future__ import annotations

import pytest

from matrixinfer.bus.errors import Unavailable
from support.bus_rig import Rig


async def test_a_connected_link_is_up_since_it_connected(rig: Rig) -> None:
    up_since = rig.bus.link.up_since()
    assert rig.bus.link.is_up()
    assert up_since is not None
    assert up_since <= rig.bus.clock.monotonic()


async def test_a_broken_link_is_down_and_after_the_reconnect_up_since_then(rig: Rig) -> None:
    before = rig.bus.link.up_since()
    await rig.cut()
    assert not rig.bus.link.is_up()
    assert rig.bus.link.up_since() is None
    await rig.hold(0.1)
    await rig.mend()
    await rig.until(rig.bus.link.is_up)
    after = rig.bus.link.up_since()
    assert before is not None
    assert after is not None
    assert after > before


async def test_those_who_wait_for_a_restored_link_are_told_when_the_streams_are_there_again(rig: Rig) -> None:
    stored: list[str] = []

    async def fail() -> None:
        raise RuntimeError("this handler fails on purpose")

    async def post() -> None:
        subject = rig.bus.subjects.work("ns", "pod")  # in a memory stream, which a restart loses
        stored.append((await (await rig.bus.queue.post(subject, b"", message_id=str(len(stored))))).stream)

    rig.bus.link.on_restored(fail)
    rig.bus.link.on_restored(post)
    await rig.restart()
    await rig.until(lambda: stored == ["WORK"], within_s=10.0)
    await rig.cut()
    await rig.mend()
    await rig.until(lambda: len(stored) == 2, within_s=10.0)


async def test_what_is_posted_while_the_link_is_down_is_stored_when_it_is_back(rig: Rig) -> None:
    await rig.cut()
    subject = rig.bus.subjects.infer("ns", "ms", 0, "tenant")
    futures = [await rig.bus.queue.post(subject, b"", message_id=str(n)) for n in range(3)]
    assert not any(future.done() for future in futures)
    await rig.mend()
    await rig.until(lambda: all(future.done() for future in futures))
    sequences = [future.result().sequence for future in futures]
    assert sequences == sorted(sequences)


async def test_a_post_that_nobody_answers_fails(rig: Rig) -> None:
    await rig.cut()
    future = await rig.bus.queue.post(rig.bus.subjects.work("ns", "pod"), b"", message_id="a")
    await rig.until(future.done, within_s=7.0)
    with pytest.raises(Unavailable):
        future.result()


async def test_closing_twice_is_safe_and_nothing_can_be_sent_after(rig: Rig) -> None:
    await rig.bus.link.close()
    await rig.bus.link.close()
    assert not rig.bus.link.is_up()
    with pytest.raises(Unavailable):
        await (await rig.bus.queue.post(rig.bus.subjects.work("ns", "pod"), b"", message_id="a"))
    with pytest.raises(Unavailable):
        await rig.bus.signals.publish("mi.frames.g", b"")
