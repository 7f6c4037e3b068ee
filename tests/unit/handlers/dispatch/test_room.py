"""Who waits for room, or for a pod that nobody has, does not hold up the others, and does not starve."""

from __future__ import annotations

import contextlib
from random import Random

from matrixinfer.bus.contracts.control import Dumped
from matrixinfer.bus.contracts.load import Finished, LoadEvent, Snapshot, WorkKey
from matrixinfer.bus.contracts.profile import Plugin, Profile, WeightedPlugin
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.placing import Placement
from matrixinfer.handlers.dispatch.pool_state import PoolState
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.reservation import RESERVE_AFTER_S
from matrixinfer.handlers.dispatch.scheduling.port import Choice, Scheduler
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from support.fair_queue import NoMessage
from support.scheduling import a_scheduler
from support.scripted import envelope, listed

ADAPTERS = Profile("adapters", [Plugin("ready"), Plugin("has_adapter")], [WeightedPlugin("least_requests")])


class Pool:
    """Pods with a KV cache of 10,000 tokens and 32 slots each."""

    def __init__(self, pods: int = 2, scheduler: Scheduler | None = None) -> None:
        self.now = 100.0
        self.names = [f"p{number}" for number in range(pods)]
        self.queue = FairQueue()
        self.scheduler = Counting(scheduler or a_scheduler())
        self.state = PoolState(DispatchSettings(), self.queue, self.scheduler, Random(1))
        self.state.fleet.list_pods(listed(*self.names))
        self.state.begin_reign(1, self.now - 1.0)
        self.state.end_catching_up()
        for name in self.names:
            dumped = Dumped(f"{name}-1", 0, False, Snapshot(32, kv_capacity_tokens=10_000), [])
            self.state.dumped(name, dumped, self.now, self.now)
        self._sequences = dict.fromkeys(self.names, 0)

    def ask(self, rid: str, tokens: int, tenant: str = "t", adapter: str = "") -> None:
        asked = envelope(rid, tenant=tenant, prompt_tokens=tokens, max_tokens=1, adapter=adapter, remaining_s=1e6)
        self.state.receive(asked, NoMessage(), 0.0, self.now, Effects())

    def place(self) -> list[Placement]:
        return self.state.place(self.now, 256)

    def end(self, placement: Placement) -> None:
        work = placement.work
        self.tell(placement.pod, [work], [Finished(work, "completed", True)])

    def tell(self, pod: str, started: list[WorkKey], finished: list[Finished]) -> None:
        self._sequences[pod] += 1
        event = LoadEvent("ns", pod, f"{pod}-1", self._sequences[pod], False, started, finished)
        self.state.heard(event, self.now)


class Counting:
    """Counts the questions."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.name, self.holders = scheduler.name, scheduler.holders
        self.able, self.learn = scheduler.able, scheduler.learn
        self.asked = 0
        self.breaks_on = ""

    def pick(self, request: Request, pods, now, rng) -> Choice | None:
        self.asked += 1
        if request.key[0] == self.breaks_on:
            raise ZeroDivisionError("a plug-in")
        return self._scheduler.pick(request, pods, now, rng)


def test_many_requests_that_no_pod_can_serve_hold_up_nobody():
    pool = Pool(scheduler=a_scheduler(ADAPTERS))
    for number in range(200):
        pool.ask(f"bad{number}", 100, "bad", adapter="nowhere")
    for number in range(10):
        pool.ask(f"good{number}", 100, "good")
    assert len(pool.place()) == 10
    assert pool.scheduler.asked < 30


def test_a_round_that_cannot_change_anything_asks_nobody():
    pool = Pool(scheduler=a_scheduler(ADAPTERS))
    pool.ask("large", 9_000)
    pool.ask("large-too", 9_000)
    pool.ask("other", 100, adapter="nowhere")
    assert len(pool.place()) == 2
    for number in range(20):
        pool.ask(f"blocked{number}", 5_000)
    pool.place()
    asked = pool.scheduler.asked
    for name in pool.names:
        pool.tell(name, [], [])
        pool.place()
    assert pool.scheduler.asked == asked
    assert len(pool.queue) == 21


def test_what_waits_for_room_goes_as_soon_as_there_is_some():
    pool = Pool(pods=1)
    pool.ask("first", 8_000)
    (first,) = pool.place()
    pool.ask("second", 5_000)
    pool.ask("small", 500)
    assert [placement.work.rid for placement in pool.place()] == ["small"]
    pool.end(first)
    assert [placement.work.rid for placement in pool.place()] == ["second"]


def test_a_large_request_does_not_starve_behind_a_stream_of_small_ones():
    pool = Pool(pods=2)
    running: list[Placement] = []
    for number in range(26):
        pool.ask(f"first{number}", 700)
    running += pool.place()
    pool.ask("large", 6_000)
    placed_at = None
    for step in range(200):
        pool.now += 0.1
        pool.ask(f"small{step}", 700)
        if running:
            pool.end(running.pop(0))
        new = pool.place()
        running += new
        if any(placement.work.rid == "large" for placement in new):
            placed_at = step * 0.1
            break
    assert placed_at is not None
    assert placed_at >= RESERVE_AFTER_S - 0.2, "before, it had to make room by itself"


def test_a_pod_that_was_kept_takes_others_again_when_its_holder_left():
    pool = Pool(pods=1)
    pool.ask("first", 8_000)
    (first,) = pool.place()
    pool.ask("large", 6_000)
    for _ in range(2):
        pool.now += RESERVE_AFTER_S
        pool.place()
    pool.ask("small", 500)
    assert pool.place() == []
    pool.state.cancel(("large", 1), 1.0, pool.now)
    assert [placement.work.rid for placement in pool.place()] == ["small"]
    pool.end(first)


def test_a_request_at_which_a_plugin_breaks_does_not_hold_up_the_next_ones():
    pool = Pool()
    pool.scheduler.breaks_on = "bad"
    pool.ask("bad", 100)
    pool.ask("good", 100)
    placed: list[str] = []
    for _ in range(3):
        with contextlib.suppress(ZeroDivisionError):
            placed += [placement.work.rid for placement in pool.place()]
    assert placed == ["good"]
