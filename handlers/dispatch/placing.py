"""From the queue to the pods: as long as somebody waits and some pod has room."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import msgspec

from matrixinfer.bus.contracts.decision import Candidate, Fairness
from matrixinfer.bus.contracts.disaggregation import Disaggregation
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.handlers.dispatch.affinity import Affinities
from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.ledger import Ledger
from matrixinfer.handlers.dispatch.pairs.roles import answers
from matrixinfer.handlers.dispatch.pairs.split import Split, Wait
from matrixinfer.handlers.dispatch.passing_over import PassingOver
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import PrefillHalf, Request
from matrixinfer.handlers.dispatch.reservation import Reservation
from matrixinfer.handlers.dispatch.saturation import Saturation
from matrixinfer.handlers.dispatch.scheduling.port import Choice, Scheduler, Seen
from matrixinfer.handlers.dispatch.settings import DispatchSettings

_SKIPPED_IN_A_ROUND = 32

_ROOMS = 2**52
"""So many numbers that no two requests meet in one, and few enough for every engine's integers."""


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """`work` of `request` goes to `pod`, which speaks under `boot`. `policy` names the profile that chose it. With
    `prefill`, another pod has that half; the cache moves from there as `plan` says, and `bootstrap` is its engine's.

    `waiting` requests were in the queue then; `seen` and `fairness` are for the record.
    """

    request: Request
    work: WorkKey
    pod: str
    boot: str
    epoch: int
    remaining_s: float
    queued_s: float
    candidates: list[Candidate]
    policy: str
    waiting: int = 0
    fairness: Fairness | None = None
    seen: Seen | None = None
    prefill: PrefillHalf | None = None
    bootstrap: str = ""
    plan: Disaggregation | None = None


class Placing:
    def __init__(self, ledger: Ledger, scheduler: Scheduler, settings: DispatchSettings, rng: Rng) -> None:
        self._ledger = ledger
        self._scheduler = scheduler
        self._settings = settings
        self._rng = rng
        self.split = Split(ledger.fleet, scheduler, rng)
        self._affinities = Affinities(scheduler.holders)
        self._passing = PassingOver(ledger.queue)
        self._reservation = Reservation()
        self._saturation = Saturation(settings.prefill_ahead_s)

    def place(self, now: float, limit: int) -> list[Placement]:
        """Place up to `limit` requests; the books have them placed when this returns.

        One that no open pod suits lets the next ones pass and keeps its place. It is asked again when that may have
        changed, and one that waits long for room in a cache has a pod kept for it.
        """
        queue, fleet = self._ledger.queue, self._ledger.fleet
        self._passing.begin_round(fleet.take_growth(), now)
        self._renew_reservation(now)
        placements: list[Placement] = []
        skipped = 0
        room = math.inf
        while len(queue) and len(placements) < limit and skipped < _SKIPPED_IN_A_ROUND and self._can_place(now):
            request = queue.head(now, partial(self._cached_tokens, now) if len(queue) > 1 else None)
            if request is None:
                break
            if (choice := self._try(request, room, now)) is not None:
                placements.append(self._put(request, choice, now))
            else:
                skipped += 1
                if request.kv_tokens <= room:
                    room = fleet.largest_room()
        self._ledger.is_short = len(queue) > 0 and (self._passing.is_for_room or not self._can_place(now))
        return placements

    def _can_place(self, now: float) -> bool:
        pods = self._ledger.fleet.open
        return bool(pods) and not self._saturation.is_complete(self.split.computing(pods), now)

    def _try(self, request: Request, room: float, now: float) -> Choice | None:
        """Without a pod for it, it lets the next ones pass; what a plug-in raises must not hold them up either. No pod
        has more than `room`."""
        pods = self._roomy(request) if request.kv_tokens <= room else []
        if not any(answers(pod) for pod in pods):
            self._passing.too_large(request, now)
            self._reservation.wish(request, filter(answers, self._ledger.fleet.pods.values()), now)
            return None
        found: Choice | Wait = Wait.REFUSED
        try:
            found = self.split.choose(request, pods, partial(self._suitable, request, now), now)
        finally:
            if isinstance(found, Wait):
                self._passing.let_pass(request, found, now)
        return found if isinstance(found, Choice) else None

    def _roomy(self, request: Request) -> list[Pod]:
        """Open pods whose cache has room for it, but the one that is kept for another."""
        pods = [pod for pod in self._ledger.fleet.open.values() if pod.can_hold(request.kv_tokens)]
        if self._reservation.holder is None:
            return pods
        return [pod for pod in pods if not self._reservation.keeps(pod.name, request)]

    def _renew_reservation(self, now: float) -> None:
        holder = self._reservation.holder
        if holder is not None:
            waits = holder.work is None and self._ledger.requests.get(holder.key) is holder
            if self._reservation.is_over(self._ledger.fleet.pods, waits=waits):
                self._passing.recall(now)

    def _cached_tokens(self, now: float, request: Request) -> int:
        return self._affinities.best(request, self._ledger.fleet.open, now)

    def _suitable(self, request: Request, now: float, pods: Sequence[Pod]) -> Sequence[Pod]:
        """For one that was placed before: another pod if there is one, and after much silence only a healthy one."""
        if not request.hop:
            return pods
        if request.silent_hops >= self._settings.silent_hops:
            pods = [pod for pod in pods if pod.is_steady(now, self._settings.steady_after_s)]
        others = [pod for pod in pods if pod.name != request.avoid]
        return others or pods

    def _put(self, request: Request, choice: Choice, now: float) -> Placement:
        pod, prefill = choice.pod, choice.prefill
        work = request.next_work("decode" if prefill is not None else "whole")
        request.cached_tokens = min(choice.cached_tokens, request.prompt_tokens)
        fairness = self._ledger.queue.fairness(request)
        self._affinities.forget(request)
        self._ledger.drain_rate.placed(self._ledger.queue.waiting_cost(request))
        self._ledger.place(request, pod, work, now)
        if prefill is not None:
            self._put_prefill(request, prefill, now)
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
            waiting=len(self._ledger.queue),
            seen=choice.seen,
            fairness=fairness,
            prefill=request.prefill,
            bootstrap=prefill.told.bootstrap if prefill is not None else "",
            plan=self.split.plan if prefill is not None else None,
        )

    def _put_prefill(self, request: Request, pod: Pod, now: float) -> None:
        rid, attempt = request.key
        room = 1 + int(self._rng.random() * _ROOMS)
        half = PrefillHalf(pod.name, pod.boot, WorkKey(rid, attempt, request.hop, "prefill"), room)
        self._ledger.fleet.place_prefill(pod, request, half, now)
