"""From the queue to the pods: as long as somebody waits and some pod has room."""

from __future__ import annotations

from functools import partial

import msgspec

from matrixinfer.bus.contracts.decision import Candidate
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.handlers.dispatch.affinity import Affinities
from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.ledger import Ledger
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.port import Choice, Scheduler
from matrixinfer.handlers.dispatch.settings import DispatchSettings

_SKIPPED_IN_A_ROUND = 64


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """`work` of `request` goes to `pod`, which speaks under `boot`. `policy` names the profile that chose it."""

    request: Request
    work: WorkKey
    pod: str
    boot: str
    epoch: int
    remaining_s: float
    queued_s: float
    candidates: list[Candidate]
    policy: str


class Placing:
    def __init__(self, ledger: Ledger, scheduler: Scheduler, settings: DispatchSettings, rng: Rng) -> None:
        self._ledger = ledger
        self._scheduler = scheduler
        self._settings = settings
        self._rng = rng
        self._affinities = Affinities(scheduler.holders)

    def place(self, now: float, limit: int) -> list[Placement]:
        """Place up to `limit` requests; the books have them placed when this returns.

        One that no open pod suits lets the next ones pass and keeps its place.
        """
        queue, fleet = self._ledger.queue, self._ledger.fleet
        placements: list[Placement] = []
        skipped = 0
        while fleet.open and len(placements) < limit and skipped < _SKIPPED_IN_A_ROUND:
            request = queue.head(now, partial(self._cached_tokens, now) if len(queue) > 1 else None)
            if request is None:
                break
            choice = self._choose(request, now)
            if choice is None:
                queue.pass_over(request)
                skipped += 1
            else:
                placements.append(self._put(request, choice, now))
        if skipped:
            queue.recall()
        return placements

    def _cached_tokens(self, now: float, request: Request) -> int:
        return self._affinities.best(request, self._ledger.fleet.open, now)

    def _choose(self, request: Request, now: float) -> Choice | None:
        pods = list(self._ledger.fleet.open.values())
        if request.hop:
            pods = self._suitable(request, pods, now)
        return self._scheduler.pick(request, pods, now, self._rng) if pods else None

    def _suitable(self, request: Request, pods: list[Pod], now: float) -> list[Pod]:
        """For one that was placed before: another pod if there is one, and after much silence only a healthy one."""
        if request.silent_hops >= self._settings.silent_hops:
            pods = [pod for pod in pods if pod.is_steady(now, self._settings.steady_after_s)]
        others = [pod for pod in pods if pod.name != request.avoid]
        return others or pods

    def _put(self, request: Request, choice: Choice, now: float) -> Placement:
        work, pod = request.next_work(), choice.pod
        request.cached_tokens = min(choice.cached_tokens, request.prompt_tokens)
        self._affinities.forget(request)
        self._ledger.drain_rate.placed(self._ledger.queue.waiting_cost(request))
        self._ledger.place(request, pod, work, now)
        return Placement(
            request=request,
            work=work,
            pod=pod.name,
            boot=pod.boot,
            epoch=self._ledger.epoch,
            remaining_s=request.deadline - now,
            queued_s=now - request.since,
            candidates=choice.candidates,
            policy=self._scheduler.name,
        )
