"""What dispatch believes of pods: who has room, who is silent, and what silence does not mean."""

from random import Random

import pytest

from matrixinfer.bus.contracts.control import Dumped
from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.bus.contracts.load import Finished, LoadEvent, Snapshot, WorkKey
from matrixinfer.handlers.dispatch.arrivals import HOPS_OF_A_REIGN
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.fleet import Fleet
from matrixinfer.handlers.dispatch.placing import Placement
from matrixinfer.handlers.dispatch.pool_state import PoolState
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from support.fair_queue import NoMessage, waiting
from support.scheduling import a_scheduler
from support.scripted import envelope, listed

UP_SINCE = 0.0


def a_fleet(*pods: str, slots: int = 2) -> Fleet:
    fleet = Fleet(silent_after_s=3.0, verify_after_s=7.0)
    fleet.list_pods(listed(*pods))
    for pod in pods:
        fleet.inform(pod, Dumped(f"{pod}-1", 0, False, Snapshot(slots), []), now=100.0)
    fleet.tick(100.0, UP_SINCE)
    return fleet


def event(sequence: int, snapshot: Snapshot | None = None, **fields: object) -> LoadEvent:
    return LoadEvent("ns", "p1", "p1-1", sequence, snapshot=snapshot, **fields)  # type: ignore[arg-type]


def pass_time(fleet: Fleet, start: float, end: float, up_since: float | None) -> list[str]:
    fallen, now = [], start
    while now <= end:
        fallen += [pod.name for pod in fleet.tick(now, up_since)]
        now += 0.5
    return fallen


def test_a_pod_without_events_falls_silent_once():
    fleet = a_fleet("p1")
    assert pass_time(fleet, 100.0, 102.5, UP_SINCE) == []
    assert list(fleet.open) == ["p1"]
    assert pass_time(fleet, 103.0, 110.0, UP_SINCE) == ["p1"]
    assert list(fleet.open) == []


def test_nobody_is_silent_while_the_connection_is_broken_nor_right_after():
    fleet = a_fleet("p1")
    assert pass_time(fleet, 100.0, 120.0, None) == []
    assert pass_time(fleet, 120.5, 123.0, 120.5) == []
    assert pass_time(fleet, 123.5, 124.0, 120.5) == ["p1"]


def test_nobody_is_silent_because_this_process_stood_still():
    fleet = a_fleet("p1")
    assert fleet.tick(150.0, UP_SINCE) == []
    assert pass_time(fleet, 150.5, 152.5, UP_SINCE) == []
    assert pass_time(fleet, 153.0, 153.0, UP_SINCE) == ["p1"]


def test_placed_work_takes_a_slot_until_the_pod_tells_of_it_and_then_until_its_end():
    fleet = a_fleet("p1", slots=3)
    pod, work = fleet.pods["p1"], WorkKey("r", 1, 1)
    fleet.place(pod, waiting(order=1), work, epoch=1, now=100.0)
    assert pod.free == 2
    fleet.hear(event(1, Snapshot(3)), 100.1)
    assert pod.free == 2
    fleet.hear(event(2, Snapshot(3, waiting=[work])), 100.2)
    fleet.hear(event(3, started=[work]), 100.3)
    assert pod.free == 2
    assert pod.load == pytest.approx(1 / 3)
    fleet.hear(event(4, finished=[Finished(work, "completed", True)]), 100.4)
    assert pod.free == 3


def test_an_event_seen_before_changes_nothing_and_a_gap_asks_for_a_dump():
    fleet = a_fleet("p1")
    pod = fleet.pods["p1"]
    assert fleet.hear(event(1, Snapshot(2)), 100.0) is not None
    assert fleet.hear(event(1, Snapshot(9)), 100.0) is None
    assert pod.told.slots == 2
    fleet.hear(event(4, Snapshot(2)), 100.0)
    assert fleet.to_ask(101.0) == ["p1"]
    assert fleet.to_ask(101.1) == []
    assert fleet.to_ask(102.0) == ["p1"]
    fleet.inform("p1", Dumped("p1-1", 4, False, Snapshot(2), []), 102.0)
    assert fleet.to_ask(103.0) == []


def test_an_answer_that_events_overtook_does_not_turn_time_back():
    fleet = a_fleet("p1")
    fleet.hear(event(1, Snapshot(2)), 100.0)
    fleet.hear(event(2, Snapshot(2, running=[WorkKey("r", 1, 1)])), 100.0)
    fleet.inform("p1", Dumped("p1-1", 1, False, Snapshot(2), []), 100.0)
    assert fleet.pods["p1"].free == 1


def test_a_pod_is_given_nothing_before_it_answered_in_this_reign():
    fleet = a_fleet("p1")
    fleet.begin_reign()
    assert list(fleet.open) == []
    assert fleet.to_ask(101.0) == ["p1"]
    fleet.inform("p1", Dumped("p1-1", 0, False, Snapshot(2), []), 101.0)
    assert list(fleet.open) == ["p1"]


def test_a_pod_that_left_the_list_is_kept_while_it_has_requests():
    fleet = a_fleet("p1", "p2")
    placed = waiting(order=1)
    fleet.place(fleet.pods["p1"], placed, WorkKey("r", 1, 1), epoch=1, now=100.0)
    fleet.list_pods({})
    assert list(fleet.pods) == ["p1"]
    fleet.release(placed)
    fleet.tick(101.0, UP_SINCE)
    assert list(fleet.pods) == []


def a_state(*pods: str, seed: int = 1) -> PoolState:
    state = PoolState(DispatchSettings(), FairQueue(), a_scheduler(), Random(seed))
    state.fleet.list_pods(listed(*pods))
    state.begin_reign(5, 100.0)
    for pod in pods:
        state.dumped(pod, Dumped(f"{pod}-1", 0, False, Snapshot(4), []), 100.0, 100.0)
    return state


def place(state: PoolState, rid: str, *, now: float, age_s: float = 0.0) -> Placement:
    state.receive(envelope(rid), NoMessage(), age_s, now, Effects())
    (placement,) = state.place(now, 10)
    return placement


def test_hops_of_a_request_that_a_predecessor_may_have_placed_are_numbered_apart():
    state = a_state("p1")
    assert place(state, "new", now=110.0, age_s=1.0).work.hop == 1
    assert place(state, "old", now=110.0, age_s=11.0).work.hop == 5 * HOPS_OF_A_REIGN + 1


def test_a_request_goes_to_another_pod_than_the_one_that_failed_it_if_there_is_one():
    for seed in range(10):
        state = a_state("p1", "p2", "p3", seed=seed)
        first = place(state, "r", now=110.0)
        refused = Finished(first.work, "refused", False)
        state.heard(LoadEvent("ns", first.pod, f"{first.pod}-1", 1, finished=[refused]), 110.0)
        state.fleet.tick(111.0, UP_SINCE)
        assert len(state.fleet.open) == 3
        (second,) = state.place(111.0, 10)
        assert second.pod != first.pod
        assert second.work.hop == first.work.hop + 1


def test_a_post_that_failed_late_does_not_touch_the_next_placement():
    state = a_state("p1", "p2")
    first = place(state, "r", now=110.0)
    state.post_failed(first.request, first.work, 110.0)
    (second,) = state.place(110.0, 10)
    state.post_failed(first.request, first.work, 110.0)
    answer = state.where(("r", 1), 110.0)
    assert answer is not None
    assert (answer.state, answer.pod, answer.hop) == ("placed", second.pod, 2)


def test_work_that_no_message_can_hold_is_rejected_with_413():
    state = a_state("p1")
    placement = place(state, "r", now=110.0)
    effects = state.post_impossible(placement.request, placement.work)
    assert [failure.status for _, failure in effects.failed] == [413]
    assert effects.acknowledged == [placement.request]
    assert state.fleet.pods["p1"].free == 4


def test_running_work_in_a_snapshot_settles_its_request():
    state = a_state("p1")
    placement = place(state, "r", now=110.0)
    snapshot = Snapshot(4, running=[placement.work])
    effects = state.heard(LoadEvent("ns", "p1", "p1-1", 1, snapshot=snapshot), 110.0)
    assert effects.acknowledged == [placement.request]


def test_a_pod_without_room_in_its_cache_gets_nothing_until_work_ends():
    fleet = a_fleet("p1", slots=8)
    fleet.hear(event(1, Snapshot(8, kv_capacity_tokens=1000)), 100.1)
    pod, work = fleet.pods["p1"], WorkKey("r", 1, 1)
    assert pod.can_hold(5000)  # nothing is there: whether it fits at all is the engine's to say
    large = waiting(order=1)
    large.prompt_tokens, large.output_tokens = 900, 100
    fleet.place(pod, large, work, epoch=1, now=100.2)
    assert not pod.can_hold(1)
    fleet.place(pod, waiting(order=2, prompt_tokens=0), WorkKey("s", 1, 1), epoch=1, now=100.2)
    assert list(fleet.open) == ["p1"]
    fleet.hear(event(2, started=[work]), 100.3)
    assert not pod.can_hold(1)
    fleet.hear(event(3, finished=[Finished(work, "completed", True)]), 100.4)
    assert pod.can_hold(1)


def test_what_was_cached_at_the_pod_counts_neither_as_prefill_nor_as_room_of_its_own():
    fleet = a_fleet("p1", slots=8)
    pod = fleet.pods["p1"]
    known = waiting(order=1)
    known.prompt_tokens, known.cached_tokens, known.output_tokens = 900, 700, 100
    fleet.place(pod, known, WorkKey("r", 1, 1), epoch=1, now=100.2)
    assert (pod.footprints.prefill_tokens, pod.footprints.kv_tokens) == (200, 300)
    fleet.free_slot("p1", WorkKey("r", 1, 1))
    assert (pod.footprints.prefill_tokens, pod.footprints.kv_tokens) == (0, 0)


def test_first_tokens_teach_the_pod_and_its_pool_how_long_they_take():
    fleet = a_fleet("p1", "p2", slots=8)
    pod = fleet.pods["p1"]
    before = fleet.pods["p2"].prefill.seconds(10_000, 300.0)
    for number in range(20):
        slow, work = waiting(order=number), WorkKey(f"r{number}", 1, 1)
        slow.prompt_tokens = 10_000
        now = 100.0 + number * 10
        fleet.place(pod, slow, work, epoch=1, now=now)
        fleet.hear(event(2 * number + 1, started=[work]), now + 9.0)
        fleet.hear(event(2 * number + 2, finished=[Finished(work, "completed", True)]), now + 9.5)
    assert pod.prefill.seconds(10_000, 300.0) == pytest.approx(9.0, rel=0.1)
    assert fleet.pods["p2"].prefill.seconds(10_000, 302.0) > 3 * before


def served(fleet: Fleet, number: int, prompt_tokens: int, took_s: float, usage: Usage) -> None:
    """One request at p1, every 10 seconds: placed, started `took_s` later, ended."""
    asked, work, now = waiting(order=number), WorkKey(f"r{number}", 1, 1), 100.0 + number * 10
    asked.prompt_tokens = prompt_tokens
    fleet.place(fleet.pods["p1"], asked, work, epoch=1, now=now)
    fleet.hear(event(2 * number + 1, started=[work]), now + took_s)
    fleet.hear(event(2 * number + 2, finished=[Finished(work, "completed", True, usage)]), now + took_s + 0.5)


@pytest.mark.parametrize("counted", [0, 1200], ids=["the engine tells nothing", "the engine tells 1,200 tokens"])
def test_prompts_that_were_counted_far_too_long_teach_nothing_wrong(counted: int):
    fleet = a_fleet("p1", slots=8)
    for number in range(0, 40, 2):
        served(fleet, number, 250_000, 0.14, Usage(counted, 0, 10))
        served(fleet, number + 1, 8000, 0.8, Usage(8000, 0, 10))
    for model in (fleet.prefill, fleet.pods["p1"].prefill):
        assert model.seconds(8000, 500.0) == pytest.approx(0.8, rel=0.1)
        assert model.seconds(64_000, 500.0) == pytest.approx(6.4, rel=0.1)


def test_an_engine_that_is_much_faster_than_predicted_is_learned_by_what_it_tells_at_the_end():
    fleet = a_fleet("p1", slots=8)
    for number in range(20):
        served(fleet, number, 10_000, 0.05, Usage(10_000, 0, 10))
    assert fleet.pods["p1"].prefill.seconds(10_000, 302.0) < 0.2  # of 1.02 at first


def test_a_snapshot_without_the_work_ends_the_wait_for_what_its_engine_tells():
    fleet = a_fleet("p1", slots=8)
    pod, asked, work = fleet.pods["p1"], waiting(order=1), WorkKey("r", 1, 1)
    asked.prompt_tokens = 250_000
    fleet.place(pod, asked, work, epoch=1, now=100.0)
    fleet.hear(event(1, started=[work]), 100.1)
    fleet.hear(event(2, Snapshot(8)), 100.5)
    before = pod.prefill.seconds(1000, 101.0)
    fleet.hear(event(3, finished=[Finished(work, "completed", True, Usage(250_000, 0, 1))]), 101.0)
    assert pod.prefill.seconds(1000, 101.0) == before


def test_measurements_are_as_old_as_their_last_change():
    fleet = a_fleet("p1")
    pod = fleet.pods["p1"]
    fleet.hear(event(1, Snapshot(2, ttft_s=0.5, tpot_s=0.02)), 100.5)
    fleet.hear(event(2, Snapshot(2, ttft_s=0.5, tpot_s=0.02)), 101.0)
    assert pod.measured_at == 100.5
    fleet.hear(event(3, Snapshot(2, ttft_s=0.5, tpot_s=0.03)), 101.5)
    assert pod.measured_at == 101.5
