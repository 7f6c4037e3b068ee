"""Large bodies go to the bus before their envelope, and leave it when their request is done."""

from __future__ import annotations

import asyncio

import pytest

from matrixinfer.bus.contracts.dispatch import WhereAnswer
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.frames import Failure
from matrixinfer.bus.errors import Unavailable
from matrixinfer.bus.ports import Stored
from matrixinfer.bus.topology import BODIES
from unit.gateway.conftest import Rig
from unit.gateway.farside import failed

INLINE = 16 * 1024
LARGE = 100 * 1024


async def stored(rig: Rig, envelope: Envelope) -> bytes | None:
    return await rig.far.bus.blobs.get(envelope.body_ref)


async def stored_of(rig: Rig, rid: str) -> bytes | None:
    return await rig.far.bus.blobs.get(rig.bus.subjects.body("default", "ms", rid))


async def refused(rig: Rig, pad_to: int = LARGE) -> tuple[str, Failure]:
    """Its rid, and what its client is told."""
    exchange = await rig.begin(pad_to=pad_to)
    rig.worker.relay.forget(exchange)
    await rig.clock.advance(0)
    assert exchange.failure is not None
    return exchange.rid, exchange.failure


@pytest.mark.parametrize(("size", "travels"), [(INLINE, True), (INLINE + 1, False), (4 * 1024 * 1024, False)])
async def test_only_a_body_over_the_limit_goes_by_reference(rig: Rig, size: int, travels: bool) -> None:
    exchange = await rig.begin(pad_to=size)
    (envelope,) = rig.far.envelopes
    body = exchange.envelope.body
    assert (len(body), envelope.size_bytes) == (size, size)
    if travels:
        assert (envelope.body, envelope.body_ref, envelope.body_bytes) == (body, "", 0)
    else:
        assert (envelope.body, envelope.body_bytes) == (b"", size)
        assert rig.bus.subjects.parse_body(envelope.body_ref) == ("default", "ms", exchange.rid)
        assert await stored(rig, envelope) == body


async def test_a_body_stays_as_long_as_its_answer_is_written_and_goes_with_it(rig: Rig) -> None:
    exchange = await rig.begin(pad_to=LARGE)
    (envelope,) = rig.far.envelopes
    await rig.far.stream(envelope, [b"a", b"b"])
    await rig.clock.advance(0)
    assert await stored(rig, envelope) is not None
    await exchange.pull_all()
    rig.worker.relay.forget(exchange)
    await rig.clock.advance(0)
    assert await stored(rig, envelope) is None


async def test_a_failed_request_and_a_client_that_left_leave_no_body(rig: Rig) -> None:
    fails, leaves = await rig.begin(pad_to=LARGE), await rig.begin(pad_to=LARGE)
    await rig.far.send(rig.far.envelopes[0], failed(rig.far.envelopes[0], Failure(500, "no")))
    await rig.clock.advance(0)
    for exchange in (fails, leaves):
        rig.worker.relay.forget(exchange)
    await rig.clock.advance(0)
    assert [await stored(rig, envelope) for envelope in rig.far.envelopes] == [None, None]


async def test_a_body_whose_gateway_died_goes_soon_after_its_deadline_and_not_before(rig: Rig) -> None:
    await rig.begin(pad_to=LARGE, timeout_s=20.0)
    (envelope,) = rig.far.envelopes
    rig.broker.drop_connection(rig.bus)
    await rig.clock.advance(20.0)
    assert await stored(rig, envelope) is not None
    await rig.clock.advance(6.0)
    assert await stored(rig, envelope) is None


async def test_a_request_refused_at_the_full_queue_is_429_and_its_body_is_deleted(rig: Rig) -> None:
    rig.broker.bound_stream("REQUESTS", 10)
    rid, failure = await refused(rig)
    assert (failure.status, failure.code, failure.retry_after_s) == (429, "queue_full", 1.0)
    assert await stored_of(rig, rid) is None


async def test_while_bodies_are_full_large_requests_are_503_with_advice_and_small_ones_go_on(rig: Rig) -> None:
    rig.broker.bound_stream(BODIES, LARGE + INLINE)
    first = await rig.begin(pad_to=LARGE)
    _, failure = await refused(rig)
    assert (failure.status, failure.code, failure.retry_after_s) == (503, "overloaded", 1.0)
    small = await rig.begin()
    assert [envelope.rid for envelope in rig.far.envelopes] == [first.rid, small.rid]
    rig.worker.relay.forget(first)
    await rig.clock.advance(0)
    later = await rig.begin(pad_to=LARGE)
    assert rig.far.envelopes[-1].rid == later.rid


async def test_a_request_that_the_bus_forgot_is_published_again_with_its_body(rig: Rig) -> None:
    rig.far.where = lambda _: WhereAnswer("unknown")
    exchange = await rig.begin(pad_to=LARGE)
    rig.broker.lose_stream(BODIES)
    assert await stored(rig, rig.far.envelopes[0]) is None
    await rig.clock.advance(5.0)
    again = rig.far.envelopes[1]
    assert (again.rid, again.attempt, again.body) == (exchange.rid, 2, b"")
    assert await stored(rig, again) == exchange.envelope.body
    rig.worker.relay.forget(exchange)
    await rig.clock.advance(0)
    assert await stored(rig, again) is None


async def test_the_end_of_a_request_whose_body_was_lost_takes_no_other_body_away(rig: Rig) -> None:
    ends = await rig.begin(pad_to=LARGE)
    rig.broker.lose_stream(BODIES)
    await rig.begin(pad_to=LARGE)
    rig.worker.relay.forget(ends)
    await rig.clock.advance(0)
    assert [await stored(rig, envelope) is not None for envelope in rig.far.envelopes] == [False, True]


async def test_a_body_of_which_nobody_knows_whether_it_was_stored_is_deleted(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = rig.bus.blobs.put

    async def unanswered(reference: str, data: bytes, *, ttl_s: float) -> asyncio.Future[Stored]:
        await put(reference, data, ttl_s=ttl_s)
        raise Unavailable("the answer was lost")

    monkeypatch.setattr(rig.bus.blobs, "put", unanswered)
    beginning = asyncio.create_task(rig.begin(pad_to=LARGE))
    await rig.clock.advance(0)
    (exchange,) = rig.worker.relay
    assert await stored_of(rig, exchange.rid) is not None
    rig.worker.relay.forget(exchange)
    await rig.clock.advance(0)
    await beginning
    assert rig.far.envelopes == []
    assert await stored_of(rig, exchange.rid) is None


async def test_while_the_bus_is_away_a_large_request_waits_and_goes_out_when_it_is_back(rig: Rig) -> None:
    rig.broker.drop_connection(rig.bus)
    beginning = asyncio.create_task(rig.begin(pad_to=LARGE))
    await rig.clock.advance(1.0)
    assert (beginning.done(), rig.far.envelopes) == (False, [])
    rig.broker.restore_connection(rig.bus)
    await rig.clock.advance(0)
    exchange = await beginning
    (envelope,) = rig.far.envelopes
    assert await stored(rig, envelope) == exchange.envelope.body


async def test_a_bus_that_stays_away_means_503_for_a_large_request_too(rig: Rig) -> None:
    rig.broker.drop_connection(rig.bus)
    beginning = asyncio.create_task(rig.begin(pad_to=LARGE))
    await rig.clock.advance(12.0)
    failure = (await beginning).failure
    assert failure is not None
    assert (failure.status, failure.code) == (503, "bus_unavailable")


async def test_a_request_that_ended_while_its_body_was_stored_is_not_published_and_leaves_nothing(rig: Rig) -> None:
    rig.broker.drop_connection(rig.bus)
    beginning = asyncio.create_task(rig.begin(pad_to=LARGE))
    await rig.clock.advance(0)
    (exchange,) = rig.worker.relay
    rig.worker.relay.fail(exchange, Failure(503, "shutting down"))
    rig.broker.restore_connection(rig.bus)
    await rig.clock.advance(0)
    await beginning
    await rig.clock.advance(0)
    assert rig.far.envelopes == []
    assert await stored_of(rig, exchange.rid) is None
