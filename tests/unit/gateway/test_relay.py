"""The relay, the watchdog and publishing against a scripted other side, on a clock moved by hand."""

from __future__ import annotations

import msgspec
import pytest

from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.dispatch import WhereAnswer
from matrixinfer.bus.contracts.frames import ChunkKind, Failure, Usage
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.bus.errors import Denied, QueueFull, TooLarge, Unavailable
from matrixinfer.gateway.pipeline.intake import Ask
from matrixinfer.gateway.pipeline.publishing import explain
from matrixinfer.gateway.relay.exchange import read_failure
from unit.gateway.farside import BOOT, MODEL, NAMESPACE, POD, chunk, failed


async def test_the_envelope_says_what_was_asked_and_the_body_is_untouched(rig):
    await rig.begin(timeout_s=40)
    (envelope,) = rig.far.envelopes
    assert (envelope.attempt, envelope.hop, envelope.tenant, envelope.stream) == (1, 0, "default", True)
    assert envelope.remaining_s == 40
    assert envelope.gateway == rig.worker.relay.gateway
    assert envelope.body == b'{"model":"tiny","messages":[{"role":"user"}],"stream":true}'


async def test_the_envelope_tells_dispatch_of_the_prompt_and_the_session(rig):
    body = msgspec.json.encode({"model": MODEL, "messages": [{"role": "user", "content": "x" * 3000}]})
    await rig.worker.intake.begin(Ask("", "chat.completions", "default", {b"x-session-id": b"s" * 500}, body))
    await rig.clock.advance(0)
    (envelope,) = rig.far.envelopes
    assert (envelope.prompt_tokens, len(envelope.block_hashes), envelope.session) == (757, 16, "s" * 128)


async def test_chunks_are_joined_and_the_end_brings_the_usage(rig):
    exchange = await rig.begin()
    await rig.far.stream(exchange.envelope, [b"a", b"b", b"c"])
    await rig.clock.advance(0)
    assert await exchange.pull() == b"abc"
    assert (exchange.ended, exchange.usage, exchange.failure) == (True, Usage(3, 0, 5), None)
    rig.worker.relay.forget(exchange)
    await rig.clock.advance(5)
    assert (rig.far.aborted(), rig.far.notices, rig.far.replays()) == ([], [], [])


async def test_a_ping_on_the_frames_subject_is_answered(rig):
    subject = rig.far.bus.subjects.frames(rig.worker.relay.gateway)
    assert await rig.far.bus.signals.request(subject, b"", timeout_s=1) == b""


async def test_a_frame_that_cannot_be_read_is_dropped_and_the_next_one_counts(rig):
    exchange = await rig.begin()
    await rig.far.bus.signals.publish(rig.far.bus.subjects.frames(rig.worker.relay.gateway), b"\xc1")
    await rig.far.stream(exchange.envelope, [b"a"])
    assert await exchange.pull() == b"a"


async def test_another_hop_and_an_unknown_request_are_aborted_at_that_pod_at_most_once_a_second(rig):
    exchange = await rig.begin()
    await rig.far.send(exchange.envelope, chunk(exchange.envelope, 0, b"a"))
    stranger = chunk(exchange.envelope, 0, b"", hop=2)
    for _ in range(3):
        await rig.far.send(exchange.envelope, stranger)
    await rig.clock.advance(0)
    key = WorkKey(exchange.rid, 1, 2, "whole")
    assert rig.far.aborted() == [key]
    await rig.clock.advance(1)
    await rig.far.send(exchange.envelope, stranger)
    await rig.clock.advance(0)
    assert rig.far.aborted() == [key, key]
    assert await exchange.pull() == b"a"


async def test_a_gap_is_filled_by_a_replay_at_once(rig):
    exchange = await rig.begin()
    chunks = [chunk(exchange.envelope, n, b"%d" % n) for n in range(3)]
    rig.far.memory[WorkKey(exchange.rid, 1, 1)] = chunks
    await rig.far.send(exchange.envelope, chunks[0])
    await rig.far.send(exchange.envelope, chunks[2])
    await rig.clock.advance(0)
    assert await exchange.pull() == b"012"
    assert rig.far.replays() == [(exchange.rid, 1)]


async def test_two_seconds_of_silence_of_a_bound_request_ask_its_agent_once_for_all(rig):
    exchanges = [await rig.begin(), await rig.begin()]
    for exchange in exchanges:
        first = chunk(exchange.envelope, 0, b"a")
        last = chunk(exchange.envelope, 1, b"b", ChunkKind.END)
        rig.far.memory[WorkKey(exchange.rid, 1, 1)] = [first, last]
        await rig.far.send(exchange.envelope, first)
    await rig.clock.advance(1)
    assert rig.far.orders == []
    await rig.clock.advance(2)
    assert len(rig.far.orders) == 1
    assert sorted(rig.far.replays()) == sorted((exchange.rid, 1) for exchange in exchanges)
    assert [await exchange.pull_all() for exchange in exchanges] == [b"ab", b"ab"]


async def test_an_agent_that_is_only_slow_is_asked_again_and_again_and_nothing_breaks(rig):
    exchange = await rig.begin()
    rig.far.memory[WorkKey(exchange.rid, 1, 1)] = [chunk(exchange.envelope, 0, b"a")]
    await rig.far.send(exchange.envelope, chunk(exchange.envelope, 0, b"a"))
    await rig.clock.advance(60)
    assert not exchange.ended
    assert len(rig.far.replays()) > 20
    await rig.far.send(exchange.envelope, chunk(exchange.envelope, 1, b"b", ChunkKind.END))
    await rig.clock.advance(0)
    assert await exchange.pull_all() == b"ab"


@pytest.mark.parametrize("restarted", [True, False])
async def test_an_agent_that_restarted_or_forgot_the_request_means_502(rig, restarted):
    exchange = await rig.begin()
    await rig.far.send(exchange.envelope, chunk(exchange.envelope, 0, b"a"))
    if restarted:
        rig.far.memory[WorkKey(exchange.rid, 1, 1)] = []
        await rig.clock.advance(0)
        rig.far.boot = "boot-2"
    await rig.clock.advance(3)
    assert exchange.failure is not None
    assert (exchange.failure.status, exchange.failure.code) == (502, "upstream_lost")
    assert await exchange.pull() == b"a"


async def test_an_agent_that_nobody_hears_for_six_seconds_is_gone(rig):
    exchange = await rig.begin()
    await rig.far.send(exchange.envelope, chunk(exchange.envelope, 0, b"a"))
    await rig.clock.advance(0)
    await rig.far.vanish()
    await rig.clock.advance(7)
    assert not exchange.ended
    await rig.clock.advance(3)
    assert exchange.failure is not None
    assert exchange.failure.status == 502


async def test_an_agent_that_comes_back_within_six_seconds_goes_on(rig):
    exchange = await rig.begin()
    rig.far.memory[WorkKey(exchange.rid, 1, 1)] = [chunk(exchange.envelope, 0, b"a")]
    await rig.far.send(exchange.envelope, chunk(exchange.envelope, 0, b"a"))
    await rig.clock.advance(0)
    await rig.far.vanish()
    await rig.clock.advance(6)
    await rig.far.arrive()
    await rig.clock.advance(30)
    assert not exchange.ended


async def test_while_our_own_link_is_down_nobody_counts_as_gone_and_after_it_what_was_missed_comes(rig):
    exchange = await rig.begin()
    chunks = [chunk(exchange.envelope, 0, b"a"), chunk(exchange.envelope, 1, b"b", ChunkKind.END)]
    await rig.far.send(exchange.envelope, chunks[0])
    await rig.clock.advance(0)
    rig.broker.drop_connection(rig.bus)
    rig.far.memory[WorkKey(exchange.rid, 1, 1)] = chunks
    await rig.far.send(exchange.envelope, chunks[1])
    await rig.clock.advance(20)
    assert not exchange.ended
    rig.broker.restore_connection(rig.bus)
    await rig.clock.advance(1)
    assert await exchange.pull_all() == b"ab"


async def test_a_request_that_dispatch_does_not_know_is_published_again_three_times_at_most(rig):
    exchange = await rig.begin()
    rig.far.where = lambda _: WhereAnswer("unknown")
    await rig.clock.advance(4)
    assert [e.attempt for e in rig.far.envelopes] == [1, 2]
    assert rig.far.envelopes[1].remaining_s < rig.far.envelopes[0].remaining_s
    await rig.clock.advance(4)
    assert [e.attempt for e in rig.far.envelopes] == [1, 2, 3]
    await rig.clock.advance(4)
    assert len(rig.far.envelopes) == 3
    assert exchange.failure is not None
    assert exchange.failure.status == 502


async def test_the_first_attempt_heard_wins_and_the_others_are_cancelled(rig):
    exchange = await rig.begin()
    rig.far.where = lambda _: WhereAnswer("unknown")
    await rig.clock.advance(4)
    first = rig.far.envelopes[0]
    await rig.far.stream(first, [b"one", b"!"])
    await rig.clock.advance(0)
    assert await exchange.pull() == b"one!"
    assert [(n.rid, n.attempt) for n in rig.far.notices] == [(exchange.rid, 2)]


async def test_dispatchs_refusal_counts_only_for_the_newest_attempt(rig):
    exchange = await rig.begin()
    rig.far.where = lambda _: WhereAnswer("unknown")
    await rig.clock.advance(4)
    first, second = rig.far.envelopes
    await rig.far.send(first, failed(first, Failure(504, "late")), pod="")
    await rig.clock.advance(0)
    assert not exchange.ended
    assert rig.far.notices == []
    await rig.far.send(second, failed(second, Failure(502, "poison")), pod="")
    await rig.clock.advance(0)
    assert exchange.failure == Failure(502, "poison")
    assert (exchange.rid, 1) in [(n.rid, n.attempt) for n in rig.far.notices]


@pytest.mark.parametrize("phase", ["whole", "decode"])
async def test_a_settled_request_whose_frames_were_lost_is_fetched_from_its_pod(rig, phase):
    exchange = await rig.begin()
    rig.far.where = lambda _: WhereAnswer("settled", pod=POD, boot=BOOT, hop=1, phase=phase)
    rig.far.memory[WorkKey(exchange.rid, 1, 1, phase)] = [
        msgspec.structs.replace(chunk(exchange.envelope, 0, b"a"), phase=phase),
        msgspec.structs.replace(chunk(exchange.envelope, 1, b"b", ChunkKind.END), phase=phase),
    ]
    await rig.clock.advance(3)
    assert await exchange.pull_all() == b"ab"
    assert rig.far.replays() == [(exchange.rid, 0)]


async def test_a_settled_request_whose_pod_is_gone_is_lost_after_six_seconds(rig):
    exchange = await rig.begin()
    rig.far.where = lambda _: WhereAnswer("settled", pod=POD, boot=BOOT, hop=1)
    await rig.far.vanish()
    await rig.clock.advance(7)
    assert not exchange.ended
    await rig.clock.advance(3)
    assert exchange.failure is not None
    assert exchange.failure.status == 502


async def test_without_a_dispatcher_a_request_waits_until_its_deadline_and_is_cancelled(rig):
    exchange = await rig.begin(timeout_s=30)
    await rig.far._where.close()
    await rig.clock.advance(29)
    assert not exchange.ended
    await rig.clock.advance(2)
    assert exchange.failure is not None
    assert (exchange.failure.status, exchange.failure.code) == (504, "deadline_exceeded")
    assert [(n.rid, n.attempt) for n in rig.far.notices] == [(exchange.rid, 1)]
    assert rig.far.aborted() == []


async def test_the_deadline_of_a_bound_request_aborts_it_at_its_agent_too(rig):
    exchange = await rig.begin(timeout_s=10)
    rig.far.memory[WorkKey(exchange.rid, 1, 1)] = []
    await rig.far.send(exchange.envelope, chunk(exchange.envelope, 0, b"a"))
    await rig.clock.advance(11)
    assert await exchange.pull() == b"a"
    assert exchange.failure is not None
    assert exchange.failure.status == 504
    assert rig.far.aborted() == [WorkKey(exchange.rid, 1, 1)]
    assert [n.rid for n in rig.far.notices] == [exchange.rid]


async def test_a_failure_from_an_agent_or_from_dispatch_is_the_clients_answer(rig):
    told = Failure(400, "no such parameter", "invalid_request_error", "bad", "top_q")
    exchange = await rig.begin()
    await rig.far.send(exchange.envelope, failed(exchange.envelope, told))
    assert await exchange.pull_all() == b""
    assert exchange.failure == told
    exchange = await rig.begin()
    poison = Failure(502, "two agents died of it", code="poison")
    await rig.far.send(exchange.envelope, failed(exchange.envelope, poison, number=7), pod="")
    assert await exchange.pull_all() == b""
    assert exchange.failure == poison


async def test_once_an_agent_speaks_dispatch_is_not_heard(rig):
    exchange = await rig.begin()
    await rig.far.send(exchange.envelope, chunk(exchange.envelope, 0, b"a"))
    await rig.far.send(exchange.envelope, failed(exchange.envelope, Failure(504, "late")), pod="")
    await rig.far.send(exchange.envelope, chunk(exchange.envelope, 1, b"b", ChunkKind.END))
    await rig.clock.advance(0)
    assert await exchange.pull_all() == b"ab"
    assert exchange.failure is None
    assert rig.far.aborted() == []


async def test_forgetting_a_request_that_runs_aborts_it_and_what_still_comes_is_aborted_again(rig):
    exchange = await rig.begin()
    await rig.far.send(exchange.envelope, chunk(exchange.envelope, 0, b"a"))
    await rig.clock.advance(0)
    rig.worker.relay.forget(exchange)
    rig.worker.relay.forget(exchange)
    await rig.clock.advance(0)
    assert rig.far.aborted() == [WorkKey(exchange.rid, 1, 1)]
    assert len(rig.far.notices) == 1
    await rig.far.send(exchange.envelope, chunk(exchange.envelope, 1, b"b"))
    await rig.clock.advance(0)
    assert len(rig.far.aborted()) == 2


async def test_more_than_may_wait_for_a_busy_client_cancels_the_request_and_drops_the_client(rig):
    exchange, dropped = await rig.begin(), []
    exchange.on_dropped = lambda: dropped.append(True)
    await rig.far.send(exchange.envelope, chunk(exchange.envelope, 0, b"a"))
    assert await exchange.pull() == b"a"
    for number in range(1, 5):
        await rig.far.send(exchange.envelope, chunk(exchange.envelope, number, bytes(30_000)))
    await rig.clock.advance(0)
    assert dropped == [True]
    assert exchange.failure is not None
    assert exchange.failure.code == "slow_client"
    assert WorkKey(exchange.rid, 1, 1) in rig.far.aborted()


async def test_one_answer_larger_than_the_buffer_is_no_overflow(rig):
    exchange = await rig.begin()
    await rig.far.send(exchange.envelope, chunk(exchange.envelope, 0, bytes(500_000), ChunkKind.END))
    assert len(await exchange.pull_all()) == 500_000
    assert exchange.failure is None


async def test_too_much_behind_a_gap_ends_the_request(rig):
    exchange = await rig.begin()
    await rig.far.vanish()
    await rig.far.send(exchange.envelope, chunk(exchange.envelope, 0, b"a"))
    for number in range(2, 6):
        await rig.far.send(exchange.envelope, chunk(exchange.envelope, number, bytes(30_000)))
    await rig.clock.advance(0)
    assert exchange.failure is not None
    assert exchange.failure.code == "upstream_lost"
    assert await exchange.pull() == b"a"


async def test_a_client_that_does_not_read_the_end_is_dropped_in_the_end(rig):
    exchange, dropped = await rig.begin(), []
    exchange.on_dropped = lambda: dropped.append(True)
    await rig.far.stream(exchange.envelope, [b"a"])
    await rig.clock.advance(29)
    assert dropped == []
    await rig.clock.advance(3)
    assert dropped


async def test_while_the_bus_is_away_a_post_waits_and_is_tried_again(rig):
    rig.broker.drop_connection(rig.bus)
    exchange = await rig.begin()
    await rig.clock.advance(3)
    assert not exchange.ended
    rig.broker.restore_connection(rig.bus)
    await rig.clock.advance(1)
    assert [e.rid for e in rig.far.envelopes] == [exchange.rid]
    await rig.far.stream(exchange.envelope, [b"a"])
    assert await exchange.pull_all() == b"a"


async def test_a_bus_that_stays_away_means_503_with_advice(rig):
    rig.broker.drop_connection(rig.bus)
    exchange = await rig.begin()
    await rig.clock.advance(12)
    assert exchange.failure is not None
    assert (exchange.failure.status, exchange.failure.code) == (503, "bus_unavailable")
    assert exchange.failure.retry_after_s > 0


@pytest.mark.parametrize(
    ("error", "status"),
    [(QueueFull("f"), 429), (TooLarge("l"), 413), (Unavailable("u"), 503), (Denied("d"), 500), (ValueError(), 500)],
)
def test_every_refusal_of_the_bus_has_its_status(error, status):
    assert explain(error).failure().status == status


def test_a_failure_that_cannot_be_read_is_a_failure():
    assert read_failure(b"\xc1").status == 502
    told = Failure(400, "m")
    assert read_failure(encode(told)) == told
    assert decode(encode(told), Failure) == told


async def test_the_route_table_follows_the_bucket(rig):
    store = rig.bus.store("SERVING")
    assert [m.name for m in rig.worker.serving.table.models()] == ["tiny"]
    await store.put(f"route.{NAMESPACE}.broken", b"\xc1")
    await rig.clock.advance(0)
    assert [m.name for m in rig.worker.serving.table.models()] == ["tiny"]
    await store.delete(f"route.{NAMESPACE}.r")
    await rig.clock.advance(0)
    assert rig.worker.serving.table.models() == []
