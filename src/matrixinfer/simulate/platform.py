"""Our platform as a policy: `PoolState`, which the dispatchers run, and for each pod the reporter that agents run.

Requests wait centrally and are bound late. What the real shells do between the two (streams, acknowledgements,
takeover) is not here: nothing is lost and nobody dies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from matrixinfer.agents.worker.identity import Identity
from matrixinfer.agents.worker.reporter import Reporter
from matrixinfer.bus.contracts.control import Dumped
from matrixinfer.bus.contracts.disaggregation import Connector, Disaggregation
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.bus.contracts.load import Finished, LoadEvent, Snapshot, WorkKey
from matrixinfer.bus.contracts.serving import PoolPod
from matrixinfer.handlers.dispatch.cache_index.told_caches import ToldCaches
from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.pool_state import PoolState
from matrixinfer.handlers.dispatch.scheduling.port import Scheduler
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from matrixinfer.simulate.cache_news import TELL_EVERY_S, CacheNews
from matrixinfer.simulate.life import Life
from matrixinfer.simulate.pods import SimulatedPod
from matrixinfer.simulate.port import News, Verdict
from matrixinfer.simulate.workload import Arrival

HEARTBEAT_S = 0.5
"""How often an agent sends its whole state, changed or not."""

_BOOT = "boot"
_PD_GROUP = "group"
_CONNECTOR: Connector = "nixl"
"""With which decode pods can serve a request alone; how it moves the cache is the pods' to say."""
_NO_LIMIT = 1_000_000
_FOREVER_S = 1e9


class Platform:
    """`queue` and `scheduler` are the two seams: whatever dispatch can run, the simulator can. `caches` are told what
    the pods have cached; without them nobody tells. `max_tpot_s` is the bound that a ModelServer may set; 0: none."""

    def __init__(
        self,
        pods: Sequence[SimulatedPod],
        queue: FairQueue,
        scheduler: Scheduler,
        rng: Rng,
        patience_s: float | None = None,
        *,
        caches: ToldCaches | None = None,
        max_tpot_s: float = 0.0,
    ) -> None:
        self.period_s = HEARTBEAT_S if caches is None else TELL_EVERY_S
        self._heartbeat_at = 0.0
        self._caches = caches
        self._news = None if caches is None else CacheNews(pods, caches, _BOOT)
        self._agents = [_Agent(pod) for pod in pods]
        self._by_name = {agent.pod.name: agent for agent in self._agents}
        self._arrivals: dict[str, Arrival] = {}
        self._remaining_s = _FOREVER_S if patience_s is None else patience_s
        # The simulator asks no pod what it has, so there is nothing to verify.
        self._state = PoolState(DispatchSettings(verify_after_s=math.inf), queue, scheduler, rng)
        self._state.bound_tpot(max_tpot_s)
        self._state.begin_reign(1, 0.0)
        self._state.fleet.list_pods(
            {pod.name: PoolPod("default", "simulated", pod.name, pod.role, _PD_GROUP) for pod in pods}
        )
        if any(pod.role != "server" for pod in pods):
            self._state.split_by(Disaggregation(_CONNECTOR))
        for agent in self._agents:
            self._state.dumped(agent.pod.name, Dumped(_BOOT, 0, False, agent.snapshot(), []), 0.0, 0.0)
        self._state.end_catching_up()

    def arrive(self, arrival: Arrival, now: float) -> list[Verdict]:
        self._hear_caches(now)
        self._arrivals[arrival.rid] = arrival
        effects = Effects()
        self._state.receive(envelope_of(arrival, self._remaining_s), _Stored(arrival.rid), 0.0, now, effects)
        return [*self._refused(effects), *self._place(now)]

    def heard(self, news: News, now: float) -> list[Verdict]:
        self._hear_caches(now)
        agent = self._agents[news.pod.index]
        for life in news.started:
            agent.started(life)
        for life in news.finished:
            agent.finished(life, now)
        for life in news.prefilled:
            agent.prefilled(life, now)
        return [*self._hear([agent], now), *self._place(now)]

    def tick(self, now: float) -> list[Verdict]:
        self._hear_caches(now)
        if self._caches is not None and self._news is not None:
            self._news.tell(now)
            self._caches.tick(now)
        if now < self._heartbeat_at:
            return self._place(now)
        self._heartbeat_at = now + HEARTBEAT_S - TELL_EVERY_S / 2
        for agent in self._agents:
            agent.reporter.demand_snapshot()
        refused = [*self._hear(self._agents, now), *self._refused(self._state.expire(now))]
        self._state.sweep(now)
        return [*refused, *self._place(now)]

    def cancel(self, arrival: Arrival, now: float) -> None:
        effects = self._state.cancel((arrival.rid, 1), 0.0, now)
        for name, work in effects.aborted:
            agent = self._by_name[name]
            agent.cancelled(work)
            self._hear([agent], now)

    def _hear_caches(self, now: float) -> None:
        if self._news is not None:
            self._news.deliver(now)

    def _hear(self, agents: Iterable[_Agent], now: float) -> list[Verdict]:
        verdicts: list[Verdict] = []
        for agent in agents:
            event = agent.event(now)
            if event is None:
                continue
            if self._caches is not None:
                self._caches.ended(event.pod, event.boot, event.finished)
            verdicts += self._refused(self._state.heard(event, now))
        return verdicts

    def _place(self, now: float) -> list[Verdict]:
        verdicts = []
        for placement in self._state.place(now, _NO_LIMIT):
            rid, half, prefill = placement.work.rid, placement.prefill, None
            agent = self._by_name[placement.pod]
            agent.waiting[rid] = placement.work
            if half is not None:
                prefiller = self._by_name[half.pod]
                prefiller.waiting[rid], prefill = half.work, prefiller.pod.index
            verdicts.append(Verdict(self._arrivals.pop(rid), agent.pod.index, prefill))
        return verdicts

    def _refused(self, effects: Effects) -> list[Verdict]:
        return [Verdict(self._arrivals.pop(request.key[0]), None) for request, _ in effects.failed]


class _Agent:
    """What an agent keeps: its works, and what it is going to say of them."""

    def __init__(self, pod: SimulatedPod) -> None:
        self.pod = pod
        self.reporter = Reporter(Identity("default", pod.name, _BOOT))
        self.waiting: dict[str, WorkKey] = {}
        self._running: dict[str, WorkKey] = {}

    def started(self, life: Life) -> None:
        work = self.waiting.pop(life.arrival.rid)
        self._running[work.rid] = work
        self.reporter.started(work)

    def finished(self, life: Life, now: float) -> None:
        arrival = life.arrival
        work = self._running.pop(arrival.rid)
        usage = Usage(arrival.prompt_tokens, life.cached_tokens, arrival.output_tokens)
        is_half = life.prefill is not None
        self._report(
            Finished(
                work,
                "completed",
                True,
                usage,
                life.ttft_s,
                life.ended_at - life.sent_at,
                handover="taken" if is_half else "",
            ),
            now,
        )

    def prefilled(self, life: Life, now: float) -> None:
        """Its half is done; the token that ended it is not the client's."""
        arrival = life.arrival
        work = self.waiting.pop(arrival.rid)
        self.reporter.started(work)
        usage = Usage(arrival.prompt_tokens, life.cached_tokens, 1)
        self._report(Finished(work, "completed", True, usage, now - life.sent_at, now - life.sent_at), now)

    def _report(self, finished: Finished, now: float) -> None:
        self.reporter.finished(finished)
        self.reporter.measure(finished, now)

    def cancelled(self, work: WorkKey) -> None:
        self.waiting.pop(work.rid, None)
        self.reporter.finished(Finished(work, "cancelled", False))

    def event(self, now: float) -> LoadEvent | None:
        snapshot = self.snapshot(now) if self.reporter.wants_snapshot(now) else None
        return self.reporter.compose(False, snapshot, now)

    def snapshot(self, now: float = 0.0) -> Snapshot:
        model = self.pod.model
        model.catch_up(now)
        return Snapshot(
            model.slots,
            running=list(self._running.values()),
            waiting=list(self.waiting.values()),
            running_tokens=model.running_tokens,
            waiting_tokens=model.waiting_tokens,
            kv_capacity_tokens=model.cache.capacity_tokens,
            kv_usage=self.pod.kv_usage,
            ttft_s=self.reporter.ttft_s.value(),
            tpot_s=self.reporter.tpot_s.value(),
        )


class _Stored:
    """Stands for the stored message: there is no stream here, and nobody to acknowledge to."""

    subject = ""
    data = b""

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id

    async def ack(self) -> None:
        """Nothing is stored."""


def envelope_of(arrival: Arrival, remaining_s: float) -> Envelope:
    """As the gateway would write it. `max_tokens` is unknown: dispatch must not see how long an answer will be."""
    return Envelope(
        rid=arrival.rid,
        tenant=arrival.tenant,
        namespace="default",
        modelserver="simulated",
        gateway="simulate",
        remaining_s=remaining_s,
        endpoint="chat.completions",
        model="simulated",
        stream=True,
        session=arrival.session,
        prompt_tokens=arrival.prompt_tokens,
        block_hashes=b"".join(arrival.blocks),
        body=b"",
    )
