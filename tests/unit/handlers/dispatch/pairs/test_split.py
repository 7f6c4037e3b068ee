"""Whole or in halves, and where: by the pool's plan, the pods that serve, and what failed before."""

from __future__ import annotations

import pytest

from matrixinfer.bus.contracts.control import Dumped
from matrixinfer.bus.contracts.disaggregation import Counterpart, Disaggregation
from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.bus.contracts.load import Finished, Snapshot, WorkKey
from matrixinfer.handlers.dispatch.pairs.counterparts import counterparts
from support.paired_pool import AUTO, Pool, where

BLOCKS = bytes(range(64))


def test_a_long_prompt_goes_to_a_pair_and_a_short_one_to_the_decode_pod_alone() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")

    assert where(pool.ask("long", 4096)) == [("p", "d")]
    assert where(pool.ask("short", 512)) == [("", "d")]


def test_a_prompt_that_the_decode_pod_has_cached_is_not_prefilled_elsewhere() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")
    first = pool.ask("first", 2048, block_hashes=BLOCKS)
    assert where(first) == [("p", "d")]

    assert where(pool.ask("again", 2300, block_hashes=BLOCKS)) == [("", "d")]
    assert where(pool.ask("longer", 2600, block_hashes=BLOCKS)) == []


def test_always_splits_short_ones_too_and_off_none() -> None:
    assert where(Pool(Disaggregation("http", "always"), p="prefill", d="decode").ask("short", 5)) == [("p", "d")]
    assert where(Pool(Disaggregation("http", "off"), p="prefill", d="decode").ask("long")) == [("", "d")]


def test_without_a_plan_nothing_is_split() -> None:
    assert where(Pool(None, p="prefill", d="decode").ask("long")) == [("", "d")]


def test_a_decode_engine_of_sglang_gets_no_whole_request() -> None:
    pool = Pool(Disaggregation("sglang", "auto"), p="prefill", d="decode")
    assert where(pool.ask("short", 5)) == [("p", "d")]

    mixed = Pool(Disaggregation("sglang", "auto"), p="prefill", d="decode", s="server")
    assert where(mixed.ask("short", 5)) == [("", "s")]
    off = Pool(Disaggregation("sglang", "off"), p="prefill", d="decode")
    assert where(off.ask("long")) == []


def test_without_a_prefill_pod_that_serves_it_is_decoded_alone() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")
    for _ in range(20):
        pool.now += 0.25
        pool.tell("d")
        pool.state.fleet.tick(pool.now, 0.0)

    assert where(pool.ask("long")) == [("", "d")]


def test_while_the_prefill_pods_are_full_it_waits_and_goes_as_soon_as_one_is_not() -> None:
    pool = Pool(Disaggregation("http", "always"), p="prefill", d="decode", e="decode")
    first, second = [pool.ask(f"r{number}", 400)[0] for number in range(2)]
    assert {first.pod, second.pod} == {"d", "e"}

    assert pool.ask("waits") == []
    pool.tell(second.pod, started=(second.work,))
    pool.tell(second.pod, finished=(Finished(second.work, "completed", True),))
    assert pool.place() == []
    pool.end_prefill(first)
    assert where(pool.place())[0][0] == "p"


def test_a_long_prompt_need_not_wait_for_prefill_where_nobody_decodes() -> None:
    pool = Pool(AUTO, p="prefill", d="decode", e="decode")
    pool.tell("p", started=(WorkKey("a", 1, 1), WorkKey("b", 1, 1)))
    pool.tell("d", started=(WorkKey("decodes", 1, 1),))

    assert where(pool.ask("next")) == [("", "e")]
    assert pool.ask("waits") == []


def test_where_the_prefill_pods_are_far_behind_it_is_cheaper_to_hold_up_who_decodes() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")
    pool.tell("d", started=(WorkKey("decodes", 1, 1),))
    assert where(pool.ask("first", 4096)) == [("p", "d")]

    pool = Pool(AUTO, p="prefill", d="decode")
    pool.tell("d", started=(WorkKey("decodes", 1, 1),))
    pool.state.fleet.pods["p"].footprints.add(WorkKey("ahead", 1, 1), 200_000, 0, pool.now)
    assert where(pool.ask("first", 4096)) == [("", "d")]


def test_the_filters_of_the_profile_hold_for_both_halves() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")

    assert pool.ask("r", adapter="lora") == []


def test_each_agent_is_told_of_the_other() -> None:
    plan = Disaggregation("sglang", "always", prefill_timeout_s=5.0, transfer_timeout_s=3.0)
    (placement,) = Pool(plan, p="prefill", d="decode").ask()
    to_prefill, to_decode = counterparts(placement)

    assert placement.prefill is not None
    assert placement.work == WorkKey("r", 1, 1, "decode")
    assert placement.prefill.work == WorkKey("r", 1, 1, "prefill")
    room = placement.prefill.room
    assert room > 0
    assert to_prefill == Counterpart("sglang", "p", "p-1", 5.0, 3.0, "p:8998", room)
    assert to_decode == Counterpart("sglang", "d", "d-1", 5.0, 3.0, "p:8998", room)


def test_connectors_that_hand_over_need_no_meeting_place() -> None:
    (placement,) = Pool(Disaggregation("nixl", "always"), p="prefill", d="decode").ask()

    assert [(one.bootstrap, one.room) for one in counterparts(placement)] == [("", 0), ("", 0)]


def test_a_pair_is_paid_for_once_by_what_was_computed() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")
    (placement,) = pool.ask()
    assert pool.queue.open_bills() == 1
    pool.end_prefill(placement)
    usage = Usage(4096, 4096, 7)
    pool.tell("d", started=(placement.work,))
    pool.tell("d", finished=(Finished(placement.work, "completed", True, usage, handover="taken"),))
    assert pool.queue.open_bills() == 0

    alone = Pool(Disaggregation("http", "off"), d="decode")
    (placement,) = alone.ask()
    alone.tell("d", started=(placement.work,))
    alone.tell("d", finished=(Finished(placement.work, "completed", True, Usage(4096, 1024, 7)),))
    assert pool.queue.snapshot() == alone.queue.snapshot()


def test_when_the_prefill_agent_dies_the_decode_agent_is_told() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")
    (placement,) = pool.ask()
    pool.boots["p"] = 2
    effects = pool.tell("p")

    ((pod, handed),) = effects.handed
    assert (pod, handed.key, handed.boot) == ("d", placement.work, "d-1")
    assert "died" in handed.lost
    assert placement.request.deaths == 1
    assert pool.state.where(("r", 1), pool.now).state == "placed"


def test_two_dead_prefill_agents_make_poison_and_end_the_decode_half() -> None:
    pool = Pool(Disaggregation("sglang", "always"), p="prefill", q="prefill", d="decode")
    (placement,) = pool.ask()
    assert placement.prefill is not None
    pool.boots[placement.prefill.pod] = 2
    pool.tell(placement.prefill.pod)
    pool.give_back(placement)
    (second,) = pool.place()
    assert second.prefill is not None
    assert second.prefill.pod != placement.prefill.pod, "another prefill pod is there"
    pool.boots[second.prefill.pod] = 2
    effects = pool.tell(second.prefill.pod)

    assert [failure.code for _, failure in effects.failed] == ["poison"]
    assert ("d", second.work) in effects.aborted


def test_a_half_given_back_is_tried_with_other_pairs_then_ends_with_an_error() -> None:
    pool = Pool(Disaggregation("sglang", "always"), p="prefill", q="prefill", d="decode")
    placements = pool.ask()
    prefillers = []
    for _ in range(2):
        (placement,) = placements
        assert placement.prefill is not None
        prefillers.append(placement.prefill.pod)
        pool.end_prefill(placement, "failed")
        assert not pool.give_back(placement).failed
        pool.now += 1.0
        pool.state.fleet.tick(pool.now, 0.0)
        placements = pool.place()
    (third,) = placements
    pool.end_prefill(third, "failed")
    effects = pool.give_back(third)

    assert len(set(prefillers)) == 2
    assert [(failure.status, failure.code) for _, failure in effects.failed] == [(502, "prefill_failed")]


def test_a_half_given_back_twice_goes_to_a_pod_that_can_serve_it_alone() -> None:
    pool = Pool(Disaggregation("sglang", "always"), p="prefill", d="decode", s="server")
    placements = pool.ask()
    for _ in range(2):
        (placement,) = placements
        pool.end_prefill(placement, "failed")
        pool.give_back(placement)
        pool.now += 1.0
        pool.state.fleet.tick(pool.now, 0.0)
        placements = pool.place()

    assert where(placements) == [("", "s")]


def test_a_cancel_reaches_both_halves() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")
    (placement,) = pool.ask()
    assert placement.prefill is not None
    effects = pool.state.cancel(("r", 1), 10.0, pool.now)

    assert set(effects.aborted) == {("d", placement.work), ("p", placement.prefill.work)}


def test_after_the_prefill_a_cancel_concerns_only_who_decodes() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")
    (placement,) = pool.ask()
    pool.end_prefill(placement)

    assert pool.state.cancel(("r", 1), 10.0, pool.now).aborted == [("d", placement.work)]


def test_a_decode_agent_that_dies_takes_its_prefill_half_with_it() -> None:
    pool = Pool(AUTO, p="prefill", d="decode", e="decode")
    (placement,) = pool.ask()
    assert placement.prefill is not None
    pool.boots[placement.pod] = 2
    effects = pool.tell(placement.pod)

    assert effects.aborted == [("p", placement.prefill.work)]
    (again,) = pool.place()
    assert again.pod != placement.pod
    assert again.work.hop == 2


@pytest.mark.parametrize("lost", ["prefill", "decode"])
def test_work_that_could_not_be_stored_is_made_up_for(lost: str) -> None:
    pool = Pool(AUTO, p="prefill", d="decode")
    (placement,) = pool.ask()
    assert placement.prefill is not None
    work = placement.prefill.work if lost == "prefill" else placement.work
    effects = pool.state.post_failed(placement.request, work, pool.now)

    if lost == "prefill":
        assert [pod for pod, _ in effects.handed] == ["d"]
    else:
        assert effects.aborted == [("p", placement.prefill.work)]
        assert placement.request.work is None


def test_work_too_large_for_a_message_ends_both_halves() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")
    (placement,) = pool.ask()
    assert placement.prefill is not None
    effects = pool.state.post_impossible(placement.request, placement.prefill.work)

    assert effects.aborted == [("d", placement.work)]
    assert [failure.status for _, failure in effects.failed] == [413]
    assert all(not pod.unreported for pod in pool.state.fleet.pods.values())


def test_a_prefill_half_that_never_arrived_is_noticed() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")
    (placement,) = pool.ask()
    pool.now += 10.0
    pool.state.dumped("d", Dumped("d-1", 5, False, Snapshot(2, waiting=[placement.work]), []), pool.now, pool.now)
    effects = pool.state.dumped("p", Dumped("p-1", 5, False, Snapshot(2), []), pool.now, pool.now)

    assert [handed.key for _, handed in effects.handed] == [placement.work]
    assert pool.state.fleet.pods["p"].used == 0


def test_a_successor_adopts_the_decode_half_and_leaves_the_prefill_half_to_the_agents() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")
    decode, prefill = WorkKey("r", 1, 3, "decode"), WorkKey("r", 1, 3, "prefill")
    pool.state.begin_reign(2, pool.now)
    pool.state.dumped("p", Dumped("p-1", 1, False, Snapshot(2, waiting=[prefill]), []), pool.now, pool.now)
    pool.state.dumped("d", Dumped("d-1", 1, False, Snapshot(2, waiting=[decode]), []), pool.now, pool.now)

    assert pool.ask() == []
    answer = pool.state.where(("r", 1), pool.now)
    assert answer is not None
    assert (answer.state, answer.pod, answer.hop, answer.phase) == ("placed", "d", 3, "decode")


def test_a_prefill_half_that_ended_does_not_settle_its_request_for_a_successor() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")
    prefill = WorkKey("r", 1, 3, "prefill")
    pool.state.begin_reign(2, pool.now)
    ended = Finished(prefill, "completed", True)
    pool.state.dumped("p", Dumped("p-1", 1, False, Snapshot(2), [ended]), pool.now, pool.now)
    pool.introduce("d")

    assert where(pool.ask()) == [("p", "d")]


def test_the_time_from_prefill_to_first_token_is_learned_and_no_prefill_speed_of_the_decode_pod() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")
    before = pool.state.fleet.pods["d"].prefill.seconds(4096, pool.now)
    (placement,) = pool.ask()
    pool.now += 1.0
    pool.end_prefill(placement)
    pool.now += 2.0
    pool.tell("d", started=(placement.work,))

    assert pool.state.fleet.pods["d"].prefill.seconds(4096, pool.now) == pytest.approx(before)
    assert pool.state.fleet.transfer.seconds(4096, 0, pool.now) > 0.4


@pytest.mark.parametrize(
    ("plan", "goes"),
    [(Disaggregation("http", "always"), False), (Disaggregation("sglang", "auto"), False), (AUTO, True)],
)
def test_where_every_prompt_is_computed_by_prefill_pods_it_waits_in_the_fair_queue_while_those_are_behind(
    plan: Disaggregation, goes: bool
) -> None:
    pool = Pool(plan, p="prefill", d="decode", e="decode")
    first = pool.ask("first", 60_000)
    assert where(first)[0][0] == "p"

    assert bool(pool.ask("next")) is goes
    if not goes:
        pool.end_prefill(first[0])
        assert where(pool.place())[0][0] == "p"
