"""Requests on pairs under any order of events: no slot is kept for nothing, no request is lost or ended twice."""

from __future__ import annotations

from random import Random
from typing import ClassVar, NamedTuple

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from matrixinfer.bus.contracts.control import Dumped
from matrixinfer.bus.contracts.disaggregation import Connector, Disaggregation
from matrixinfer.bus.contracts.load import Finished, LoadEvent, Outcome, Snapshot, WorkKey
from matrixinfer.bus.contracts.serving import PoolPod
from matrixinfer.handlers.dispatch.arrivals import Arrival
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.placing import Placement
from matrixinfer.handlers.dispatch.pool_state import PoolState
from matrixinfer.handlers.dispatch.request import Request, RequestKey
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from support.fair_queue import NoMessage
from support.scheduling import a_scheduler
from support.scripted import MS, NS, envelope

SLOTS = {"p1": 1, "p2": 2, "d1": 2, "d2": 3}
NAMES = st.sampled_from(sorted(SLOTS))


def role(name: str) -> str:
    return "prefill" if name.startswith("p") else "decode"


class Posted(NamedTuple):
    request: Request
    work: WorkKey
    other: WorkKey
    """The other half, or the same work where there is none."""


class Agent:
    """As it is; the state under test knows it from events and dumps only."""

    def __init__(self, name: str) -> None:
        self.name, self.slots, self.lives = name, SLOTS[name], 0
        self.reboot()

    def reboot(self) -> None:
        self.lives += 1
        self.boot = f"{self.name}-{self.lives}"
        self.sequence = 0
        self.posted: list[Posted] = []
        self.waiting: list[Posted] = []
        self.running: list[Posted] = []
        self.finished: list[Finished] = []

    def event(self, *, started: list[WorkKey] | None = None, finished: list[Finished] | None = None) -> LoadEvent:
        self.sequence += 1
        self.finished += finished or []
        return LoadEvent(NS, self.name, self.boot, self.sequence, False, started or [], finished or [], self.snapshot())

    def snapshot(self) -> Snapshot:
        running, waiting = ([one.work for one in works] for works in (self.running, self.waiting))
        return Snapshot(self.slots, running=running, waiting=waiting, bootstrap=f"{self.name}:1")

    def dump(self) -> Dumped:
        return Dumped(self.boot, self.sequence, False, self.snapshot(), list(self.finished))


class PairMachine(RuleBasedStateMachine):
    connector: ClassVar[Connector] = "http"

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.epoch = 7
        self.state = self.new_state()
        self.state.end_catching_up()
        self.agents = {name: Agent(name) for name in SLOTS}
        self.received: dict[RequestKey, float] = {}
        self.ended: list[RequestKey] = []
        self.handed: dict[WorkKey, str] = {}
        """Decode work → what its agent heard of its prefill half: it was taken, or it is lost."""
        for agent in self.agents.values():
            self.introduce(agent)

    def new_state(self) -> PoolState:
        state = PoolState(DispatchSettings(), FairQueue(), a_scheduler(), Random(1))
        state.split_by(Disaggregation(self.connector, "always"))
        state.fleet.list_pods({name: PoolPod(NS, MS, name, role=role(name), pd_group="g") for name in SLOTS})
        state.begin_reign(self.epoch, self.now)
        return state

    def introduce(self, agent: Agent) -> None:
        self.done(self.state.heard(agent.event(), self.now))
        self.done(self.state.dumped(agent.name, agent.dump(), self.now, self.now))

    def hear(
        self, agent: Agent, *, started: list[WorkKey] | None = None, finished: list[Finished] | None = None
    ) -> None:
        self.done(self.state.heard(agent.event(started=started, finished=finished), self.now))

    def done(self, effects: Effects) -> None:
        self.ended += [request.key for request in effects.acknowledged]
        for _, handed in effects.handed:
            self.handed.setdefault(handed.key, "lost")
        for name in [*effects.ask, *self.state.fleet.to_ask(self.now)]:
            self.done(self.state.dumped(name, self.agents[name].dump(), self.now, self.now))
        for pod, work in effects.aborted:
            self.abort(self.agents[pod], work)
        for placement in self.state.place(self.now, 256):
            self.post(placement)

    def post(self, placement: Placement) -> None:
        request, work, half = placement.request, placement.work, placement.prefill
        assert placement.boot == self.agents[placement.pod].boot
        self.agents[placement.pod].posted.append(Posted(request, work, half.work if half else work))
        if half is not None:
            assert half.boot == self.agents[half.pod].boot
            assert (role(half.pod), role(placement.pod)) == ("prefill", "decode")
            self.agents[half.pod].posted.append(Posted(request, half.work, work))
            assert self.state.fleet.pods[half.pod].free >= 0
        assert self.state.fleet.pods[placement.pod].free >= 0

    def abort(self, agent: Agent, work: WorkKey) -> None:
        for works in (agent.posted, agent.waiting, agent.running):
            for one in [one for one in works if one.work == work]:
                works.remove(one)
                self.hear(agent, finished=[Finished(work, "cancelled", False)])

    def word(self, decode: Posted) -> str:
        return self.handed.get(decode.work, "alone" if decode.work == decode.other else "")

    @rule()
    def receive(self) -> None:
        rid = f"r{len(self.received)}"
        self.received[rid, 1] = self.now + 1000.0
        self.state.receive(envelope(rid, prompt_tokens=100, remaining_s=1000.0), NoMessage(), 0.0, self.now, Effects())
        self.done(Effects())

    @rule(name=NAMES)
    def pull(self, name: str) -> None:
        agent = self.agents[name]
        if agent.posted and len(agent.waiting) + len(agent.running) < agent.slots:
            agent.waiting.append(agent.posted.pop(0))
            self.hear(agent)

    @rule(name=NAMES, outcome=st.sampled_from(["completed", "completed", "failed", "refused"]))
    def prefill_ends(self, name: str, outcome: Outcome) -> None:
        agent = self.agents[name]
        if role(name) == "prefill" and agent.waiting:
            half = agent.waiting.pop(0)
            self.handed.setdefault(half.other, "taken" if outcome == "completed" else "lost")
            self.hear(agent, finished=[Finished(half.work, outcome, outcome == "completed")])

    @rule(name=NAMES)
    def decode_starts_or_is_given_back(self, name: str) -> None:
        agent = self.agents[name]
        for half in [one for one in agent.waiting if role(name) == "decode" and self.word(one)]:
            agent.waiting.remove(half)
            if self.word(half) == "lost" and self.connector == "sglang":
                self.hear(agent, finished=[Finished(half.work, "refused", False, handover="lost")])
            else:
                agent.running.append(half)
                self.hear(agent, started=[half.work])

    @rule(name=NAMES)
    def decode_ends(self, name: str) -> None:
        agent = self.agents[name]
        if agent.running:
            self.hear(agent, finished=[Finished(agent.running.pop(0).work, "completed", True)])

    @rule(name=NAMES)
    def a_decode_agent_waits_too_long(self, name: str) -> None:
        for half in self.agents[name].waiting:
            if role(name) == "decode" and half.work != half.other:
                self.handed.setdefault(half.work, "lost")

    @rule(name=NAMES)
    def reboot(self, name: str) -> None:
        self.agents[name].reboot()
        self.introduce(self.agents[name])

    @rule(seconds=st.sampled_from([0.5, 4.0]), quiet=st.sampled_from(["", *SLOTS]))
    def pass_time(self, seconds: float, quiet: str) -> None:
        for _ in range(int(seconds / 0.25)):
            self.now += 0.25
            for agent in self.agents.values():
                if agent.name != quiet:
                    self.hear(agent)
            for pod in self.state.fleet.tick(self.now, 0.0):
                self.done(self.state.lost(pod.name, died=False))
            self.done(self.state.expire(self.now))
            self.done(self.state.give_up_halves(self.now))
        for agent in self.agents.values():
            self.hear(agent)
        if seconds > DispatchSettings().silent_after_s and not quiet:
            self.nobody_waits_in_vain()

    def nobody_waits_in_vain(self) -> None:
        """Every agent was heard for long: who still waits for a prefill has one."""
        there = {one.work for agent in self.agents.values() for one in [*agent.posted, *agent.waiting]}
        for agent in self.agents.values():
            if role(agent.name) == "decode":
                assert not [one for one in agent.waiting if not self.word(one) and one.other not in there]

    @rule(pulled=st.booleans(), dead=st.sampled_from(["", *SLOTS]))
    def succeed(self, pulled: bool, dead: str) -> None:
        """Another process takes over, one agent perhaps began anew meanwhile: agents tell it what they have, and
        refuse what a predecessor posted."""
        for name in SLOTS if pulled else ():
            self.pull(name)
        self.epoch += 1
        if dead:
            self.agents[dead].reboot()
        self.state = self.new_state()
        fenced = {name: agent.posted for name, agent in self.agents.items()}
        for agent in self.agents.values():
            agent.posted = []
            self.state.dumped(agent.name, agent.dump(), self.now, self.now)
        for key in [key for key in self.received if key not in self.ended]:
            asked = envelope(key[0], prompt_tokens=100, remaining_s=1000.0)
            arrival = self.state.receive(asked, NoMessage(), 1.0, self.now, Effects())
            self.ended += [key] if arrival is Arrival.SETTLED else []
        self.state.end_catching_up()
        for name, posted in fenced.items():
            for one in posted:
                if role(name) == "prefill":
                    self.handed.setdefault(one.other, "lost")
                self.hear(self.agents[name], finished=[Finished(one.work, "refused", False)])
        self.done(Effects())

    @precondition(lambda self: self.received)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.received)))
        answer = self.state.where(key, self.now)
        self.done(self.state.cancel(key, 100.0, self.now))
        if answer is not None and answer.state == "placed":
            halves = [one.work for agent in self.agents.values() for one in [*agent.posted, *agent.waiting]]
            assert not [work for work in halves if (work.rid, work.attempt, work.hop) == (*key, answer.hop)]

    @rule(name=NAMES)
    def lose_a_post(self, name: str) -> None:
        agent = self.agents[name]
        if agent.posted:
            lost = agent.posted.pop()
            self.done(self.state.post_failed(lost.request, lost.work, self.now))

    def teardown(self) -> None:
        """Whatever happened, who behaves from now on gets every request to its end."""
        self.pass_time(4.0, "")
        for _ in range(20 + 10 * len(self.received)):
            if set(self.ended) == set(self.received):
                break
            before = len(self.ended)
            for name in SLOTS:
                self.pull(name)
                self.prefill_ends(name, "completed")
                self.decode_starts_or_is_given_back(name)
                self.decode_ends(name)
            if len(self.ended) == before:
                self.pass_time(0.5, "")
                for name in SLOTS:
                    self.a_decode_agent_waits_too_long(name)
        assert set(self.ended) == set(self.received)

    @invariant()
    def no_request_ends_twice_or_is_lost(self) -> None:
        assert len(set(self.ended)) == len(self.ended)
        for key in self.received:
            answer = self.state.where(key, self.now)
            held = answer is not None and answer.state in ("queued", "placed")
            assert held != (key in self.ended)

    @invariant()
    def no_slot_is_kept_for_what_is_over(self) -> None:
        for agent in self.agents.values():
            pod = self.state.fleet.pods[agent.name]
            assert pod.unreported.keys() <= {one.work for one in agent.posted}

    @invariant()
    def a_half_that_is_awaited_belongs_to_a_placed_request(self) -> None:
        for pod in self.state.fleet.pods.values():
            for request in pod.prefilling.values():
                assert request.work is not None
                assert request.prefill is not None
                assert request.prefill.pod == pod.name
                assert request.prefill.work.hop == request.work.hop

    @invariant()
    def no_bill_is_open_for_what_is_over(self) -> None:
        answering = [
            one
            for agent in self.agents.values()
            for one in [*agent.posted, *agent.waiting, *agent.running]
            if one.work.phase != "prefill"
        ]
        assert self.state.placed <= self.state.queue.open_bills() <= len(answering)


class SglangMachine(PairMachine):
    connector = "sglang"


TestPairLaws = PairMachine.TestCase
TestSglangLaws = SglangMachine.TestCase
TestPairLaws.settings = TestSglangLaws.settings = hypothesis_settings(
    max_examples=60, stateful_step_count=30, deadline=None
)
