"""Load events: one sequence without a hole, snapshots not too often, nothing left unsaid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.agents.worker.identity import Identity
from matrixinfer.agents.worker.reporter import SNAPSHOT_GAP_S, DecayedMean, Reporter
from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.bus.contracts.load import Finished, LoadEvent, Snapshot, WorkKey

NOW = 100.0
KEY = WorkKey("r", 1, 1)
DONE = Finished(KEY, "completed", True, Usage(3, 0, 5), ttft_s=1.0, duration_s=3.0)


def say(reporter: Reporter, now: float) -> LoadEvent | None:
    return reporter.compose(False, Snapshot(slots=1) if reporter.wants_snapshot(now) else None, now)


@pytest.fixture
def reporter() -> Reporter:
    return Reporter(Identity("ns", "pod", "boot"))


def test_nothing_is_said_when_there_is_nothing_to_say(reporter: Reporter) -> None:
    assert say(reporter, NOW) is None
    assert reporter.sequence == 0


def test_starts_and_ends_of_one_turn_are_told_together_and_once(reporter: Reporter) -> None:
    reporter.started(KEY)
    reporter.finished(DONE)
    event = say(reporter, NOW)
    assert event is not None
    assert (event.sequence, event.started, event.finished) == (1, [KEY], [DONE])
    assert say(reporter, NOW + 1) is None


def test_a_change_soon_after_a_snapshot_is_told_at_once_and_its_snapshot_when_the_gap_is_over(
    reporter: Reporter,
) -> None:
    reporter.demand_snapshot()
    say(reporter, NOW)
    reporter.started(KEY)
    event = say(reporter, NOW + 0.005)
    assert event is not None
    assert event.snapshot is None
    wait_s = reporter.snapshot_wait_s(NOW + 0.005)
    assert wait_s is not None
    assert wait_s == pytest.approx(SNAPSHOT_GAP_S - 0.005)
    later = say(reporter, NOW + 0.005 + wait_s + 1e-6)
    assert later is not None
    assert later.snapshot is not None
    assert reporter.snapshot_wait_s(NOW + 1) is None


def test_what_could_not_be_sent_goes_with_the_next_event_under_the_same_number(reporter: Reporter) -> None:
    reporter.started(KEY)
    lost = say(reporter, NOW)
    assert lost is not None
    reporter.unsaid(lost)
    reporter.finished(DONE)
    event = say(reporter, NOW)
    assert event is not None
    assert (event.sequence, event.started, event.finished) == (1, [KEY], [DONE])
    assert event.snapshot is not None


@given(st.lists(st.sampled_from(["start", "finish", "say", "lose", "demand"]), max_size=60))
def test_the_sequence_has_no_hole_and_everything_is_said_exactly_once(steps: list[str]) -> None:
    reporter, now = Reporter(Identity("ns", "pod", "boot")), NOW
    events: list[LoadEvent] = []
    told: list[WorkKey] = []
    for n, step in enumerate([*steps, "say"]):
        now += 0.007
        if step == "start":
            told.append(WorkKey(str(n), 1, 1))
            reporter.started(told[-1])
        elif step == "finish":
            told.append(WorkKey(str(n), 1, 1))
            reporter.finished(Finished(told[-1], "completed", True))
        elif step == "demand":
            reporter.demand_snapshot()
        elif (event := say(reporter, now)) is not None and step == "lose":
            reporter.unsaid(event)
        elif event is not None:
            events.append(event)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    said = [key for event in events for key in [*event.started, *(f.key for f in event.finished)]]
    assert sorted(said, key=lambda key: int(key.rid)) == told


def test_the_means_come_from_completed_work(reporter: Reporter) -> None:
    assert (reporter.ttft_s.value(), reporter.tpot_s.value()) == (0.0, 0.0)
    reporter.measure(DONE, NOW)
    assert (reporter.ttft_s.value(), reporter.tpot_s.value()) == (1.0, 0.5)


def test_a_whole_answer_of_one_piece_says_nothing_of_the_time_per_token(reporter: Reporter) -> None:
    reporter.measure(Finished(KEY, "completed", True, Usage(3, 0, 5), ttft_s=2.0, duration_s=2.0), NOW)
    assert (reporter.ttft_s.value(), reporter.tpot_s.value()) == (2.0, 0.0)


def test_a_sample_weighs_half_after_its_half_life() -> None:
    mean = DecayedMean(half_life_s=10.0)
    mean.add(1.0, 0.0)
    mean.add(4.0, 10.0)
    assert mean.value() == pytest.approx((0.5 * 1.0 + 4.0) / 1.5)
