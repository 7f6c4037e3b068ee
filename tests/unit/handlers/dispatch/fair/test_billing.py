"""Every bill is closed once, by the hop that holds it, and only answers that completed say how long answers get."""

from __future__ import annotations

from random import Random

import pytest

from matrixinfer.bus.contracts.control import Dumped
from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.bus.contracts.load import Finished, LoadEvent, Outcome, Snapshot, WorkKey
from matrixinfer.handlers.dispatch.arrivals import Arrival
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.fair.settings import FairSettings
from matrixinfer.handlers.dispatch.placing import Placement
from matrixinfer.handlers.dispatch.pool_state import PoolState
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from support.fair_queue import NoMessage, waiting
from support.scheduling import a_scheduler
from support.scripted import envelope, listed

OUTPUT_TOKENS = 100
SETTINGS = FairSettings(expected_output_tokens=OUTPUT_TOKENS, quantum_tokens=0.0)
PREDICTED = 1000 + 2 * OUTPUT_TOKENS
"""The charge of one of the requests below."""


class Books:
    """A pool of pods that say what the test says. A tenant whose request never is the next keeps the level at 0."""

    def __init__(self, *pods: str, slots: int = 1) -> None:
        self.now = 1000.0
        self.queue = FairQueue(SETTINGS)
        self.queue.push(waiting("patient", order=10**6, priority=-4, since=1e9))
        self.state = PoolState(DispatchSettings(), self.queue, a_scheduler(), Random(1))
        self.slots = slots
        self.sequences = dict.fromkeys(pods, 0)
        self.state.fleet.list_pods(listed(*pods))
        self.begin_reign(1)

    def begin_reign(self, epoch: int) -> None:
        self.state.begin_reign(epoch, self.now - 10.0)
        self.state.end_catching_up()
        for pod in self.sequences:
            self.dumped(pod)

    def dumped(self, pod: str, *waiting_there: WorkKey, asked_at: float | None = None) -> None:
        dumped = Dumped("b", self.sequences[pod], False, Snapshot(self.slots, waiting=list(waiting_there)), [])
        self.state.dumped(pod, dumped, asked_at or self.now, self.now)

    def place(self, rid: str = "r", tenant: str = "a") -> Placement:
        self.receive(rid, tenant)
        return self.place_again()

    def receive(self, rid: str = "r", tenant: str = "a", age_s: float = 0.0) -> Arrival:
        asked = envelope(rid, tenant=tenant, prompt_tokens=1000, remaining_s=600.0)
        return self.state.receive(asked, NoMessage(), age_s, self.now, Effects())

    def place_again(self) -> Placement:
        (placement,) = self.state.place(self.now, 1)
        return placement

    def tell(self, pod: str, *started: WorkKey, ends: tuple[Finished, ...] = (), boot: str = "b") -> None:
        self.sequences[pod] += 1
        snapshot = Snapshot(self.slots) if boot != "b" else None
        event = LoadEvent("ns", pod, boot, self.sequences[pod], False, list(started), list(ends), snapshot)
        self.state.heard(event, self.now)

    def fall_silent(self, silent: str) -> None:
        for _ in range(20):
            self.now += 0.25
            for pod in self.sequences.keys() - {silent}:
                self.tell(pod)
            for fallen in self.state.fleet.tick(self.now, 0.0):
                self.state.lost(fallen.name, died=False)

    def counter(self, tenant: str = "a") -> float:
        """Without what has not started."""
        snapshot = self.queue.snapshot()
        return {**snapshot.idle, **snapshot.waiting}.get(tenant, 0.0)


def ended(
    work: WorkKey, outcome: Outcome = "completed", usage: Usage | None = None, *, started: bool = True
) -> Finished:
    return Finished(work, outcome, started, usage or Usage())


def test_the_end_of_a_former_hop_leaves_the_bill_of_the_live_one_open():
    books = Books("p1", "p2")
    first = books.place()
    books.fall_silent(first.pod)
    second = books.place_again()
    books.tell(second.pod, second.work)
    books.tell(first.pod, ends=(ended(first.work, "cancelled", started=False),))
    assert books.counter() == PREDICTED
    books.tell(second.pod, ends=(ended(second.work, usage=Usage(1000, 0, 500)),))
    assert books.counter() == 1000 + 2 * 500
    assert books.queue.open_bills() == 0


def test_a_former_hop_that_ran_after_all_is_paid_for():
    books = Books("p1", "p2")
    first = books.place()
    books.fall_silent(first.pod)
    second = books.place_again()
    books.tell(first.pod, first.work)
    books.tell(second.pod, ends=(ended(second.work, "cancelled", started=False),))
    books.tell(first.pod, ends=(ended(first.work, usage=Usage(1000, 0, 500)),))
    assert books.counter() == 1000 + 2 * 500
    assert books.queue.open_bills() == 0


@pytest.mark.parametrize("outcome", ["failed", "cancelled", "expired"])
@pytest.mark.parametrize("started", [True, False])
def test_only_completed_answers_say_how_long_answers_get(outcome, started):
    books = Books("p1")
    for number in range(20):
        placement = books.place(f"r{number}")
        books.tell("p1", ends=(ended(placement.work, outcome, Usage(1000, 0, 3), started=started),))
    assert books.queue.expected_output_tokens("a", 0) == OUTPUT_TOKENS
    assert books.counter() == (20 * (1000 + 2 * 3) if started else 0)


def test_one_that_ended_early_pays_for_its_prompt_though_the_engine_did_not_count_it():
    books = Books("p1")
    placement = books.place()
    books.tell("p1", placement.work)
    books.tell("p1", ends=(ended(placement.work, "cancelled", Usage(output_tokens=7)),))
    assert books.counter() == 1000 + 2 * 7


def test_work_that_no_message_holds_costs_nothing():
    books = Books("p1")
    placement = books.place()
    books.state.post_impossible(placement.request, placement.work)
    assert (books.counter(), books.queue.open_bills()) == (0, 0)


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_work_that_was_not_stored_costs_nothing(is_cancelled):
    books = Books("p1")
    placement = books.place()
    if is_cancelled:
        books.state.cancel(placement.request.key, 60.0, books.now)
    books.state.post_failed(placement.request, placement.work, books.now)
    assert (books.counter(), books.queue.open_bills()) == (0, 0)


def test_work_that_was_taken_for_not_stored_and_ran_is_paid_for():
    books = Books("p1")
    placement = books.place()
    books.tell("p1", placement.work)
    books.state.post_failed(placement.request, placement.work, books.now)
    assert books.counter() == PREDICTED


def test_cancelled_work_that_its_pod_never_got_costs_nothing():
    books = Books("p1")
    placement = books.place()
    books.state.cancel(placement.request.key, 60.0, books.now)
    books.now += 100.0
    books.dumped("p1")
    assert (books.counter(), books.queue.open_bills()) == (0, 0)


def test_a_dead_boot_leaves_what_started_as_charged_and_no_bill_open():
    books = Books("p1", slots=3)
    running, cancelled, placed = (books.place(f"r{number}", f"t{number}") for number in range(3))
    books.tell("p1", running.work)
    books.state.cancel(cancelled.request.key, 60.0, books.now)
    books.sequences["p1"] = 0
    books.tell("p1", boot="b2")
    assert books.queue.open_bills() == 0
    assert [books.counter(f"t{number}") for number in range(3)] == [PREDICTED, 0, 0]
    assert books.state.fleet.pods["p1"].placed == {}
    assert placed.request in books.queue


def test_a_pod_that_left_for_ever_leaves_no_bill_open():
    books = Books("p1", "p2")
    placement = books.place()
    books.tell(placement.pod, placement.work)
    books.state.fleet.list_pods(listed(*(books.sequences.keys() - {placement.pod})))
    assert books.queue.open_bills() == 0
    assert books.counter() == PREDICTED


def test_one_that_a_predecessor_placed_is_charged_when_it_is_adopted():
    books = Books("p1")
    books.state.begin_reign(2, books.now)
    work = WorkKey("r", 1, 1)
    books.dumped("p1", work)
    assert books.receive(age_s=20.0) is Arrival.ADOPTED
    books.tell("p1", work)
    assert books.counter() == PREDICTED


def test_a_takeover_charges_placed_work_once():
    books, successor = Books("p1"), Books("p1")
    books.place("r1")
    books.receive("r2")
    assert books.counter() == 0
    successor.queue.restore(books.queue.snapshot())
    for rid in ("r1", "r2"):
        successor.receive(rid)
    placement = successor.place_again()
    successor.tell("p1", placement.work)
    assert successor.counter() == PREDICTED
