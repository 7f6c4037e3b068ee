"""The fair queue at work in a pool: tenants take turns, pay for what they use, and hear at once when it is no use."""

from __future__ import annotations

from random import Random

from matrixinfer.bus.block_hashes import BLOCK_TOKENS, block_hashes
from matrixinfer.bus.contracts.control import Dumped
from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.bus.contracts.load import Finished, LoadEvent, Snapshot, WorkKey
from matrixinfer.handlers.dispatch.arrivals import Arrival
from matrixinfer.handlers.dispatch.cache_index.sent_prompts import SentPrompts
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.fair.settings import FairSettings
from matrixinfer.handlers.dispatch.pool_state import PoolState
from matrixinfer.handlers.dispatch.scheduling.port import Knowledge, Scheduler
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from support.fair_queue import NoMessage
from support.scheduling import a_scheduler
from support.scripted import envelope, listed


class OnePod:
    """A pool of one pod with one slot, whose agent does at once what it is told."""

    def __init__(self, settings: FairSettings | None = None, scheduler: Scheduler | None = None) -> None:
        self.now = 100.0
        """Later than the begin of the reign: what came before is a predecessor's."""
        self.queue = FairQueue(settings)
        self.state = PoolState(DispatchSettings(), self.queue, scheduler or a_scheduler(), Random(1))
        self.state.fleet.list_pods(listed("p1"))
        self.state.begin_reign(1, self.now - 1.0)
        self.state.end_catching_up()
        self.state.dumped("p1", Dumped("b1", 0, False, Snapshot(1), []), self.now, self.now)
        self._sequence = 0
        self.placed: list[WorkKey] = []

    def ask(self, rid: str, tenant: str = "t", *, age_s: float = 0.0, **fields: object) -> tuple[Arrival, Effects]:
        effects = Effects()
        asked = envelope(rid, tenant=tenant, **fields)
        return self.state.receive(asked, NoMessage(), age_s, self.now, effects), effects

    def next(self, usage: Usage | None = None, *, takes_s: float = 0.1) -> str:
        """Place one, and let it end with `usage`."""
        (placement,) = self.state.place(self.now, 1)
        self.now += takes_s
        ended = Finished(placement.work, "completed", True, usage or Usage(100, 0, 10))
        self._sequence += 1
        self.state.heard(LoadEvent("ns", "p1", "b1", self._sequence, False, [placement.work], [ended]), self.now)
        self.state.sweep(self.now)
        self.placed.append(placement.work)
        return placement.work.rid


def test_tenants_take_turns_whatever_their_backlogs():
    pool = OnePod()
    for number in range(6):
        pool.ask(f"heavy{number}", "heavy", prompt_tokens=1000)
    pool.ask("light0", "light", prompt_tokens=1000)
    pool.ask("light1", "light", prompt_tokens=1000)
    served = [pool.next(Usage(1000, 0, 10)) for _ in range(5)]
    assert served.index("light0") <= 1
    assert served.index("light1") <= 3


def test_a_tenant_pays_for_what_was_used_and_not_for_what_was_expected():
    pool = OnePod()
    for number in range(4):
        pool.ask(f"long{number}", "long", prompt_tokens=100)
        pool.ask(f"short{number}", "short", prompt_tokens=100)
    used = {"long": Usage(100, 0, 5000), "short": Usage(100, 100, 1)}
    served = []
    for _ in range(8):
        (placement,) = pool.state.place(pool.now, 1)
        rid = placement.work.rid
        ended = Finished(placement.work, "completed", True, used[rid[:-1]])
        pool._sequence += 1
        pool.state.heard(LoadEvent("ns", "p1", "b1", pool._sequence, False, [placement.work], [ended]), pool.now)
        served.append(rid[:-1])
    assert served.index("long") <= 1
    assert served[2:5] == ["short"] * 3, "who used fifty times as much waits until the other has caught up"


def test_work_that_was_refused_costs_its_tenant_nothing():
    pool = OnePod()
    pool.ask("a", "one", prompt_tokens=100_000)
    (placement,) = pool.state.place(pool.now, 1)
    pool.ask("b", "two", prompt_tokens=100)
    refused = Finished(placement.work, "refused", False)
    pool.state.heard(LoadEvent("ns", "p1", "b1", 1, False, [], [refused]), pool.now)
    pool.now += 1.0  # a pod that refused rests for a moment
    pool.state.fleet.tick(pool.now, 0.0)
    (placement,) = pool.state.place(pool.now, 1)
    assert placement.work.rid == "a", "else one would have paid, and two would go first"


def test_within_the_quantum_the_request_whose_prompt_is_cached_goes_first():
    sent = SentPrompts()
    pool = OnePod(scheduler=a_scheduler(knowledge=Knowledge(approximate=sent)))
    known, other = (block_hashes([token] * 4 * BLOCK_TOKENS) for token in (1, 2))
    pool.ask("first", block_hashes=known, prompt_tokens=1024)
    assert pool.next() == "first"
    pool.ask("unknown", block_hashes=other, prompt_tokens=1024)
    pool.ask("known", block_hashes=known, prompt_tokens=1024)
    assert [pool.next(), pool.next()] == ["known", "unknown"]


def test_a_session_keeps_its_order_also_when_a_later_one_is_cached():
    sent = SentPrompts()
    pool = OnePod(scheduler=a_scheduler(knowledge=Knowledge(approximate=sent)))
    known, other = (block_hashes([token] * 4 * BLOCK_TOKENS) for token in (1, 2))
    pool.ask("first", block_hashes=known, prompt_tokens=1024)
    pool.next()
    pool.ask("one", block_hashes=other, prompt_tokens=1024, session="s")
    pool.ask("two", block_hashes=known, prompt_tokens=1024, session="s")
    assert [pool.next(), pool.next()] == ["one", "two"]


def busy(pool: OnePod, seconds: int) -> None:
    """The pool learns its pace: one request a second, while others wait."""
    for number in range(seconds + 20):
        pool.ask(f"work{number}", prompt_tokens=100)
    for _ in range(seconds):
        pool.next(takes_s=1.0)


def test_one_that_would_miss_its_deadline_is_told_at_once():
    pool = OnePod()
    busy(pool, 30)
    arrival, effects = pool.ask("hopeless", remaining_s=2.0, prompt_tokens=100)
    ((request, failure),) = effects.failed
    assert arrival is Arrival.REFUSED
    assert (request.key, failure.status, failure.code) == (("hopeless", 1), 429, "rate_limit_exceeded")
    assert 5 < failure.retry_after_s < 60
    assert effects.acknowledged == [request]
    assert pool.ask("patient", remaining_s=600.0, prompt_tokens=100)[0] is Arrival.QUEUED


def test_nothing_is_refused_that_a_predecessor_had_accepted():
    pool = OnePod()
    busy(pool, 30)
    arrival, effects = pool.ask("old", age_s=60.0, remaining_s=62.0, prompt_tokens=100)
    assert (arrival, effects.failed) == (Arrival.QUEUED, [])


def test_beyond_the_bound_a_request_is_refused_and_told_who_is_in_the_way():
    pool = OnePod(FairSettings(max_waiting=3, max_tenant_waiting=2))
    statuses = []
    for number, tenant in enumerate(["a", "a", "a", "b", "b"]):
        arrival, effects = pool.ask(f"r{number}", tenant)
        statuses.append(effects.failed[0][1].status if arrival is Arrival.REFUSED else 0)
    assert statuses == [0, 0, 429, 0, 503]
    assert len(pool.queue) == 3


def test_a_request_that_was_published_again_is_not_refused():
    pool = OnePod()
    busy(pool, 30)
    arrival, effects = pool.ask("again", attempt=2, remaining_s=2.0, prompt_tokens=100)
    assert (arrival, effects.failed) == (Arrival.QUEUED, [])


def test_nothing_is_refused_while_a_pod_has_room():
    pool = OnePod()
    busy(pool, 30)
    while len(pool.queue):
        pool.next()
    pool.state.place(pool.now, 1)
    assert pool.ask("quick", remaining_s=1.0, prompt_tokens=1_000_000)[0] is Arrival.QUEUED
