"""The loop of discrete events: requests come, engines step, news travel, policies decide. Pure, on virtual time.

Events at one time happen in the order in which they were planned. A pod's plan changes when work comes, so each event
of an engine is checked against what the engine says: one that is no longer true is passed over.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from matrixinfer.simulate.errors import Stuck
from matrixinfer.simulate.life import End, Life
from matrixinfer.simulate.pods import SimulatedPod
from matrixinfer.simulate.port import News, Policy, Verdict
from matrixinfer.simulate.workload import Workload

NEWS_DELAY_S = 0.001
"""From a pod to whoever decides, over the bus."""
STUCK_AFTER_S = 3600.0
"""So long without a single step of an engine, though requests wait, is no waiting any more."""

_PROGRESS_EVERY = 4096

Act = Callable[[float], None]


class Loop:
    """One run of a workload through a policy. `events` counts what happened, for the events per second."""

    def __init__(
        self, workload: Workload, pods: Sequence[SimulatedPod], policy: Policy, patience_s: float | None = None
    ) -> None:
        self.lives = [Life(arrival) for arrival in workload.arrivals]
        self.events = 0
        self._pods = pods
        self._policy = policy
        self._patience_s = patience_s
        self._concurrency = workload.concurrency
        self._by_rid = {life.arrival.rid: life for life in self.lives}
        self._plan: list[tuple[float, int, Act]] = []
        self._planned = 0
        self._next_life = 0
        self._under_way = self._ended = 0
        self._held_back: deque[Life] = deque()
        self._decode_pods: dict[str, int] = {}
        """Of requests on pairs."""
        self._stepped_at = 0.0
        self._steps_planned = [math.nan] * len(pods)

    def run(self, progress: Callable[[int], None] = lambda ended: None) -> list[Life]:
        """Until every request has ended; `progress` is told now and then how many have. Raises Stuck."""
        self._plan_next_arrival()
        if self._policy.period_s:
            self._at(self._policy.period_s, self._tick)
        while self._plan and self._ended < len(self.lives):
            at, _, act = heapq.heappop(self._plan)
            act(at)
            self.events += 1
            if self.events % _PROGRESS_EVERY == 0:
                progress(self._ended)
        if self._ended < len(self.lives):
            raise self._stuck()
        progress(self._ended)
        return self.lives

    def _at(self, at: float, act: Act) -> None:
        self._planned += 1
        heapq.heappush(self._plan, (at, self._planned, act))

    # -- requests
    def _plan_next_arrival(self) -> None:
        if self._next_life < len(self.lives):
            self._at(self.lives[self._next_life].arrival.at, self._arrive)

    def _arrive(self, now: float) -> None:
        life = self.lives[self._next_life]
        self._next_life += 1
        self._plan_next_arrival()
        self._stepped_at = now
        if self._concurrency and self._under_way >= self._concurrency:
            self._held_back.append(life)
        else:
            self._send(life, now)

    def _send(self, life: Life, now: float) -> None:
        life.sent_at = now
        self._under_way += 1
        if self._patience_s is not None:
            self._at(now + self._patience_s, partial(self._lose_patience, life))
        self._obey(self._policy.arrive(life.arrival, now), now)

    def _lose_patience(self, life: Life, now: float) -> None:
        if life.end or not math.isnan(life.first_token_at):
            return
        self._policy.cancel(life.arrival, now)
        for index in (life.prefill_pod, life.pod):
            if index >= 0:
                self._pods[index].abort(life, now)
                self._plan_step(self._pods[index])
        self._end(life, "cancelled", now)

    def _end(self, life: Life, end: End, now: float) -> None:
        life.end = end
        life.ended_at = now
        self._ended += 1
        self._under_way -= 1
        if self._held_back and self._under_way < self._concurrency:
            self._at(now, self._send_next)

    def _send_next(self, now: float) -> None:
        if self._held_back and self._under_way < self._concurrency:
            self._send(self._held_back.popleft(), now)

    # -- decisions
    def _obey(self, verdicts: Iterable[Verdict], now: float) -> None:
        for verdict in verdicts:
            life = self._by_rid[verdict.arrival.rid]
            if verdict.pod is None:
                self._end(life, "refused", now)
            elif verdict.prefill is None:
                self._submit(life, self._pods[verdict.pod], now)
            else:
                self._prefill(life, self._pods[verdict.prefill], verdict.pod, now)

    def _submit(self, life: Life, pod: SimulatedPod, now: float) -> None:
        self._began(life, pod, pod.submit(life, now), now)

    def _prefill(self, life: Life, pod: SimulatedPod, decode_pod: int, now: float) -> None:
        self._decode_pods[life.arrival.rid] = decode_pod
        self._began(life, pod, pod.prefill(life, now), now)

    def _began(self, life: Life, pod: SimulatedPod, fits: bool, now: float) -> None:
        if fits:
            self._plan_step(pod)
        else:
            self._policy.cancel(life.arrival, now)
            self._end(life, "refused", now)

    def _transfer(self, life: Life, pod: SimulatedPod, now: float) -> None:
        """From the pod that computed its prompt to the one that decodes it."""
        to = self._pods[self._decode_pods[life.arrival.rid]]
        self._at(pod.transfer_ends_at(life, to, now), partial(self._transferred, life, pod, to))

    def _transferred(self, life: Life, pod: SimulatedPod, to: SimulatedPod, now: float) -> None:
        pod.let_go(life, now)
        self._plan_step(pod)
        if not life.end:
            self._submit(life, to, now)

    def _tick(self, now: float) -> None:
        if now - self._stepped_at > STUCK_AFTER_S and self._next_life == len(self.lives):
            raise self._stuck()
        self._at(now + self._policy.period_s, self._tick)
        self._obey(self._policy.tick(now), now)

    def _stuck(self) -> Stuck:
        waiting = sum(1 for life in self.lives if not life.end)
        return Stuck(f"{waiting} of {len(self.lives)} requests never end: the policy holds them and no engine has work")

    # -- engines
    def _plan_step(self, pod: SimulatedPod) -> None:
        next_at = pod.model.next_at()
        if next_at is not None and next_at != self._steps_planned[pod.index]:
            self._steps_planned[pod.index] = next_at
            self._at(next_at, partial(self._step, pod))

    def _step(self, pod: SimulatedPod, now: float) -> None:
        if pod.model.next_at() != now:
            return
        self._stepped_at = now
        self._steps_planned[pod.index] = math.nan
        started, finished, prefilled = pod.advance(now)
        self._plan_step(pod)
        if not (started or finished or prefilled):
            return
        self._at(now + NEWS_DELAY_S, partial(self._tell, News(pod, started, finished, prefilled)))
        for life in finished:
            self._end(life, "finished", now)
        for life in prefilled:
            self._transfer(life, pod, now)

    def _tell(self, news: News, now: float) -> None:
        if news.prefilled:  # a client may have left since
            news = news._replace(prefilled=[life for life in news.prefilled if not life.end])
        self._obey(self._policy.heard(news, now), now)
