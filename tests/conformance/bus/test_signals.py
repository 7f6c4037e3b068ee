"""What Signals promises, kept by both adapters."""

from __future__ import annotations

import asyncio

import pytest

from matrixinfer.bus.errors import NobodyThere, TimedOut, TooLarge, Unavailable
from matrixinfer.bus.ports import Signal
from matrixinfer.bus.topology import MAX_PAYLOAD_BYTES
from support.bus_rig import Rig


class Ears:
    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []

    async def __call__(self, signal: Signal) -> None:
        self.heard.append((signal.subject, signal.data))


async def echo(signal: Signal) -> None:
    await signal.respond(signal.data * 2)


async def test_every_subscriber_hears_what_matches_in_order(rig: Rig) -> None:
    one, two = Ears(), Ears()
    await rig.bus.signals.subscribe("mi.load.*.*", one)
    await rig.other.signals.subscribe("mi.load.>", two)
    sent = [(f"mi.load.ns.p{n}", b"%d" % n) for n in range(100)]
    for subject, data in sent:
        await rig.bus.signals.publish(subject, data)
    await rig.bus.signals.publish("mi.other.ns.p", b"")
    await rig.until(lambda: len(one.heard) == 100 and len(two.heard) == 100)
    assert one.heard == two.heard == sent


async def test_of_a_group_one_member_hears_each(rig: Rig) -> None:
    one, two = Ears(), Ears()
    await rig.bus.signals.subscribe("mi.api.>", one, group="gateways")
    await rig.other.signals.subscribe("mi.api.>", two, group="gateways")
    for n in range(100):
        await rig.bus.signals.publish("mi.api.t.chat", b"%d" % n)
    await rig.until(lambda: len(one.heard) + len(two.heard) == 100)
    await rig.hold(0.05)
    assert len({*one.heard, *two.heard}) == 100
    assert one.heard
    assert two.heard


async def test_a_request_gets_the_answer(rig: Rig) -> None:
    await rig.other.signals.subscribe("mi.control.ns.*", echo)
    answers = [rig.bus.signals.request(f"mi.control.ns.p{n}", b"%d" % n, timeout_s=5.0) for n in range(20)]
    assert await asyncio.gather(*answers) == [(b"%d" % n) * 2 for n in range(20)]


async def test_a_request_to_nobody_fails_at_once(rig: Rig) -> None:
    with pytest.raises(NobodyThere, match="nobody"):
        await rig.bus.signals.request("mi.control.ns.p", b"", timeout_s=60.0)


async def test_a_request_without_an_answer_times_out(rig: Rig) -> None:
    await rig.other.signals.subscribe("mi.control.ns.p", Ears())
    asking = asyncio.create_task(rig.bus.signals.request("mi.control.ns.p", b"", timeout_s=0.2))
    await rig.until(asking.done)
    with pytest.raises(TimedOut, match=r"mi\.control\.ns\.p"):
        asking.result()


async def test_answering_what_asked_nothing_does_nothing(rig: Rig) -> None:
    ears = Ears()

    async def answer(signal: Signal) -> None:
        await signal.respond(b"unasked")
        await ears(signal)

    await rig.bus.signals.subscribe("mi.frames.g", answer)
    await rig.bus.signals.publish("mi.frames.g", b"1")
    await rig.bus.signals.publish("mi.frames.g", b"2")
    await rig.until(lambda: len(ears.heard) == 2)


async def test_a_closed_subscription_hears_nothing(rig: Rig) -> None:
    ears, still = Ears(), Ears()
    subscription = await rig.bus.signals.subscribe("mi.load.a.b", ears)
    await rig.bus.signals.subscribe("mi.load.a.b", still)
    await subscription.close()
    await subscription.close()
    await rig.bus.signals.publish("mi.load.a.b", b"")
    await rig.until(lambda: still.heard)
    assert not ears.heard


async def test_a_failing_handler_keeps_its_subscription(rig: Rig) -> None:
    heard: list[bytes] = []

    async def fail(signal: Signal) -> None:
        heard.append(signal.data)
        raise RuntimeError("this handler fails on purpose")

    await rig.bus.signals.subscribe("mi.load.a.b", fail)
    for data in (b"1", b"2"):
        await rig.bus.signals.publish("mi.load.a.b", data)
    await rig.until(lambda: heard == [b"1", b"2"])


async def test_a_message_over_the_limit_is_too_large(rig: Rig) -> None:
    with pytest.raises(TooLarge):
        await rig.bus.signals.publish("mi.frames.g", b"x" * (MAX_PAYLOAD_BYTES + 1))


async def test_subscriptions_outlive_a_broken_connection_and_lose_only_what_came_meanwhile(rig: Rig) -> None:
    ears = Ears()
    await rig.bus.signals.subscribe("mi.load.a.b", ears)
    await rig.other.signals.publish("mi.load.a.b", b"before")
    await rig.until(lambda: ears.heard)
    await rig.cut()
    await rig.other.signals.publish("mi.load.a.b", b"lost")
    with pytest.raises(Unavailable):
        await rig.bus.signals.request("mi.load.a.b", b"", timeout_s=1.0)
    await rig.bus.signals.publish("mi.load.a.b", b"buffered")
    await rig.mend()
    await rig.until(rig.bus.link.is_up)
    await rig.until(lambda: len(ears.heard) == 2)
    await rig.other.signals.publish("mi.load.a.b", b"after")
    await rig.until(lambda: len(ears.heard) == 3)
    assert [data for _, data in ears.heard] == [b"before", b"buffered", b"after"]


async def test_a_cancelled_call_ends_wherever_it_is_and_touches_no_other(rig: Rig) -> None:
    """A library on the way may swallow the cancellation: then whoever waits for the end waits for ever. Or it may
    stumble over the answer to what was given up."""

    async def hear(_: Signal) -> None:
        pass

    for turns in range(20):
        call = asyncio.create_task(rig.bus.signals.subscribe("mi.control.ns.p", hear))
        for _ in range(turns):
            await asyncio.sleep(0)
        was_done = call.done()
        call.cancel()
        await asyncio.wait([call])
        assert was_done or call.cancelled(), f"after {turns} turns"
    await rig.other.signals.subscribe("mi.where.ns.ms", echo)
    assert await rig.bus.signals.request("mi.where.ns.ms", b"a", timeout_s=5.0) == b"aa"
