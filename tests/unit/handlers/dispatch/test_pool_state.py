"""The whole decision of a pool under any order of events: no pod over its slots, no request lost or ended twice."""

from random import Random

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from matrixinfer.bus.contracts.control import Dumped
from matrixinfer.bus.contracts.load import Finished, LoadEvent, Snapshot, WorkKey
from matrixinfer.handlers.dispatch.arrivals import Arrival
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.placing import Placement
from matrixinfer.handlers.dispatch.pool_state import PoolState
from matrixinfer.handlers.dispatch.request import RequestKey
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from support.fair_queue import NoMessage
from support.scheduling import a_scheduler
from support.scripted import envelope, listed

PODS = {"p1": 1, "p2": 3}


class Agent:
    """A pod as it is; the state under test knows it from events and dumps only."""

    def __init__(self, name: str, slots: int) -> None:
        self.name, self.slots = name, slots
        self.lives = 0
        self.reboot()

    def reboot(self) -> None:
        self.lives += 1
        self.boot = f"{self.name}-{self.lives}"
        self.sequence = 0
        self.posted: list[Placement] = []
        self.waiting: list[WorkKey] = []
        self.running: list[WorkKey] = []
        self.finished: list[Finished] = []

    def event(self, *, started: list[WorkKey] | None = None, finished: list[Finished] | None = None) -> LoadEvent:
        self.sequence += 1
        started, finished = started or [], finished or []
        self.finished += finished
        return LoadEvent("ns", self.name, self.boot, self.sequence, False, started, finished, self.snapshot())

    def snapshot(self) -> Snapshot:
        return Snapshot(self.slots, running=list(self.running), waiting=list(self.waiting))

    def dump(self) -> Dumped:
        return Dumped(self.boot, self.sequence, False, self.snapshot(), list(self.finished))


class PoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.state = PoolState(DispatchSettings(), FairQueue(), a_scheduler(), Random(1))
        self.state.fleet.list_pods(listed(*PODS))
        self.state.begin_reign(7, self.now)
        self.state.end_catching_up()
        self.agents = {name: Agent(name, slots) for name, slots in PODS.items()}
        self.received: dict[RequestKey, float] = {}
        """Their deadlines."""
        self.ended: list[RequestKey] = []
        self.works: set[tuple[str, WorkKey]] = set()
        for agent in self.agents.values():
            self.introduce(agent)

    def introduce(self, agent: Agent) -> None:
        self.done(self.state.heard(agent.event(), self.now))
        self.done(self.state.dumped(agent.name, agent.dump(), self.now, self.now))

    def done(self, effects: Effects) -> None:
        self.ended += [request.key for request in effects.acknowledged]
        for name in [*effects.ask, *self.state.fleet.to_ask(self.now)]:
            self.done(self.state.dumped(name, self.agents[name].dump(), self.now, self.now))
        for placement in self.state.place(self.now, 256):
            agent = self.agents[placement.pod]
            assert placement.boot == agent.boot
            assert (placement.pod, placement.work) not in self.works, "two placements share a WorkKey"
            self.works.add((placement.pod, placement.work))
            agent.posted.append(placement)
            assert self.state.fleet.pods[placement.pod].free >= 0

    @rule(remaining_s=st.sampled_from([1.0, 1000.0]))
    def receive(self, remaining_s: float) -> None:
        rid = f"r{len(self.received)}"
        self.received[rid, 1] = self.now + remaining_s
        request = envelope(rid, remaining_s=remaining_s)
        assert self.state.receive(request, NoMessage(), 0.0, self.now, Effects()) is Arrival.QUEUED
        self.done(Effects())

    @precondition(lambda self: self.received)
    @rule(data=st.data())
    def receive_again(self, data: st.DataObject) -> None:
        rid, _ = key = data.draw(st.sampled_from(sorted(self.received)))
        if self.now > self.received[key]:
            return
        arrival = self.state.receive(envelope(rid, remaining_s=1000.0), NoMessage(), 0.0, self.now, Effects())
        assert arrival is (Arrival.SETTLED if (rid, 1) in self.ended else Arrival.REPEATED)

    @rule(name=st.sampled_from(sorted(PODS)))
    def pull(self, name: str) -> None:
        agent = self.agents[name]
        if agent.posted and len(agent.waiting) + len(agent.running) < agent.slots:
            agent.waiting.append(agent.posted.pop(0).work)
            self.done(self.state.heard(agent.event(), self.now))

    @rule(name=st.sampled_from(sorted(PODS)))
    def start(self, name: str) -> None:
        agent = self.agents[name]
        if agent.waiting:
            agent.running.append(agent.waiting.pop(0))
            self.done(self.state.heard(agent.event(started=agent.running[-1:]), self.now))

    @rule(name=st.sampled_from(sorted(PODS)), outcome=st.sampled_from(["completed", "refused", "failed"]))
    def finish(self, name: str, outcome: str) -> None:
        agent = self.agents[name]
        of = agent.running if outcome == "completed" else agent.waiting
        if of:
            ended = Finished(of.pop(0), outcome, outcome == "completed")  # type: ignore[arg-type]
            self.done(self.state.heard(agent.event(finished=[ended]), self.now))

    @rule(name=st.sampled_from(sorted(PODS)), starts=st.booleans())
    def do_it_all_unheard(self, name: str, starts: bool) -> None:
        """Events are lost; the gap is noticed at the next one."""
        agent = self.agents[name]
        room = max(0, agent.slots - len(agent.waiting) - len(agent.running))
        agent.waiting += [placement.work for placement in agent.posted[:room]]
        del agent.posted[:room]
        for work in agent.waiting:
            agent.event(finished=[Finished(work, "completed" if starts else "expired", starts)])
        agent.waiting.clear()
        self.now += 0.5
        self.done(self.state.heard(agent.event(), self.now))

    @rule(name=st.sampled_from(sorted(PODS)))
    def reboot(self, name: str) -> None:
        self.agents[name].reboot()
        self.introduce(self.agents[name])

    @rule(seconds=st.sampled_from([0.25, 0.5, 4.0]), quiet=st.sampled_from(["", *PODS]))
    def pass_time(self, seconds: float, quiet: str) -> None:
        for _ in range(int(seconds / 0.25)):
            self.now += 0.25
            for agent in self.agents.values():
                if agent.name != quiet:
                    self.done(self.state.heard(agent.event(), self.now))
            for pod in self.state.fleet.tick(self.now, 0.0):
                self.done(self.state.lost(pod.name, died=False))
            self.done(self.state.expire(self.now))
        for agent in self.agents.values():
            self.done(self.state.heard(agent.event(), self.now))

    @precondition(lambda self: self.received)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.received)))
        effects = self.state.cancel(key, 100.0, self.now)
        for pod, work in effects.aborted:
            agent = self.agents[pod]
            agent.posted = [placement for placement in agent.posted if placement.work != work]
            if work in agent.waiting:
                agent.waiting.remove(work)
            self.done(self.state.heard(agent.event(finished=[Finished(work, "cancelled", False)]), self.now))
        self.done(effects)

    @rule(name=st.sampled_from(sorted(PODS)))
    def lose_a_post(self, name: str) -> None:
        agent = self.agents[name]
        if agent.posted:
            lost = agent.posted.pop()
            self.state.post_failed(lost.request, lost.work, self.now)
            self.done(Effects())

    @invariant()
    def no_request_ends_twice_or_is_lost(self) -> None:
        assert len(set(self.ended)) == len(self.ended)
        for key in self.received:
            answer = self.state.where(key, self.now)
            held = answer is not None and answer.state in ("queued", "placed")
            assert held != (key in self.ended)

    @invariant()
    def no_pod_has_more_than_its_slots_to_start(self) -> None:
        for pod in self.state.fleet.pods.values():
            assert len(pod.placed) <= pod.told.slots

    @invariant()
    def no_slot_is_kept_for_what_is_over(self) -> None:
        for agent in self.agents.values():
            on_their_way = {placement.work for placement in agent.posted}
            assert self.state.fleet.pods[agent.name].unreported.keys() <= on_their_way

    @invariant()
    def no_bill_is_open_for_what_is_over(self) -> None:
        at_agents = sum(len(agent.posted) + len(agent.waiting) + len(agent.running) for agent in self.agents.values())
        assert self.state.placed <= self.state.queue.open_bills() <= at_agents

    @invariant()
    def nobody_waits_while_a_pod_has_room(self) -> None:
        steady = [pod for pod in self.state.fleet.open.values() if pod.is_steady(self.now, 10.0)]
        assert not (steady and len(self.state.queue))

    @invariant()
    def the_queue_and_the_pods_share_the_requests(self) -> None:
        placed = sum(len(pod.placed) for pod in self.state.fleet.pods.values())
        assert placed == self.state.placed


TestPoolLaws = PoolMachine.TestCase
TestPoolLaws.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
