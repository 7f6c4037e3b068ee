"""Each reign is told once what was cancelled before it, as long as that matters."""

from __future__ import annotations

from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.dispatch import Cancelled, QueueReport
from matrixinfer.gateway.relay.cancels import IN_A_NOTICE, Cancels
from unit.gateway.farside import MODELSERVER, NAMESPACE

POOL = ("ns", "ms")


def report(epoch: int, *, pool: tuple[str, str] = POOL, shard: int = 0) -> QueueReport:
    return QueueReport(*pool, shard, epoch, 0, 0, 0, 0.0, 1, 0.0)


def told(cancels: Cancels, report: QueueReport, now: float = 0.0) -> list[Cancelled]:
    return [one for notice in cancels.due(report, now) for one in notice.requests]


def test_the_first_word_of_each_reign_over_each_shard_is_answered_once() -> None:
    cancels = Cancels()
    cancels.remember(POOL, [Cancelled("r", 1, 60.0)], 0.0)
    assert told(cancels, report(7), 10.0) == [Cancelled("r", 1, 50.0)]
    assert told(cancels, report(7), 10.0) == []
    assert told(cancels, report(7, shard=1), 20.0) == [Cancelled("r", 1, 40.0)]
    assert told(cancels, report(8), 30.0) == [Cancelled("r", 1, 30.0)]


def test_a_former_reign_that_wakes_up_is_told_nothing() -> None:
    cancels = Cancels()
    assert told(cancels, report(8)) == []
    cancels.remember(POOL, [Cancelled("r", 1, 60.0)], 0.0)
    assert told(cancels, report(7)) == []


def test_a_pool_is_told_only_of_its_own() -> None:
    cancels = Cancels()
    cancels.remember(POOL, [Cancelled("r", 1, 60.0)], 0.0)
    cancels.remember(("ns", "other"), [Cancelled("s", 1, 60.0)], 0.0)
    assert [one.rid for one in told(cancels, report(1))] == ["r"]
    assert [one.rid for one in told(cancels, report(1, pool=("ns", "other")))] == ["s"]


def test_what_is_past_its_deadline_is_not_told_and_is_forgotten() -> None:
    cancels = Cancels()
    cancels.remember(POOL, [Cancelled("short", 1, 5.0), Cancelled("long", 2, 60.0)], 0.0)
    assert told(cancels, report(1), 5.0) == [Cancelled("long", 2, 55.0)]
    cancels.sweep(5.0)
    assert len(cancels) == 1


def test_of_too_many_the_oldest_is_forgotten_and_the_rest_comes_in_parts() -> None:
    cancels = Cancels(most=IN_A_NOTICE + 1)
    for number in range(IN_A_NOTICE + 2):
        cancels.remember(POOL, [Cancelled(str(number), 1, 60.0)], 0.0)
    notices = list(cancels.due(report(1), 0.0))
    assert [len(notice.requests) for notice in notices] == [IN_A_NOTICE, 1]
    assert notices[0].requests[0].rid == "1"


async def say_that_reigns(rig, epoch: int) -> None:
    await rig.far.bus.signals.publish(
        rig.far.bus.subjects.queue(NAMESPACE, MODELSERVER), encode(report(epoch, pool=(NAMESPACE, MODELSERVER)))
    )
    await rig.clock.advance(0)


async def test_a_new_reign_is_told_again_of_a_client_that_left_while_its_request_waited(rig):
    exchange = await rig.begin(timeout_s=60)
    rig.worker.relay.forget(exchange)
    await rig.clock.advance(10)
    rig.far.notices.clear()
    for _ in range(2):
        await say_that_reigns(rig, 7)
    assert rig.far.notices == [Cancelled(exchange.rid, 1, 50.0)]


async def test_what_an_agent_had_begun_is_not_told_again(rig):
    exchange = await rig.begin()
    await rig.far.stream(exchange.envelope, [b"a"], end=False)
    await rig.clock.advance(0)
    rig.worker.relay.forget(exchange)
    await rig.clock.advance(0)
    rig.far.notices.clear()
    await say_that_reigns(rig, 7)
    assert rig.far.notices == []


async def test_a_report_that_cannot_be_read_is_dropped(rig):
    exchange = await rig.begin()
    rig.worker.relay.forget(exchange)
    await rig.clock.advance(0)
    await rig.far.bus.signals.publish(rig.far.bus.subjects.queue(NAMESPACE, MODELSERVER), b"\xc1")
    await say_that_reigns(rig, 7)
    assert [each.rid for each in rig.far.notices] == [exchange.rid] * 2
