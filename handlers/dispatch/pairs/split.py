"""Whole or in two halves? A pool with prefill and decode pods splits what is worth it, and serves the rest on one pod.

A remote prefill spares those who decode a long pause, and costs a transfer and a second slot: so in mode `auto` a short
prompt, or one of which nearly all is cached where it is decoded, stays whole (conditional disaggregation). Where no
prefill pod serves at all, and after pairs that failed, a request is decoded alone, by pods that can.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from matrixinfer.bus.contracts.disaggregation import Disaggregation
from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.fleet import Fleet
from matrixinfer.handlers.dispatch.pairs.pairing import Halves, Pairing
from matrixinfer.handlers.dispatch.pairs.roles import DECODE, PREFILL, serves_alone
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.port import Choice, Scheduler

LOST_HANDOVERS = 2
"""Pairs that may fail for one request before it is tried without."""

Suitable = Callable[[Sequence[Pod]], Sequence[Pod]]
"""Those of some pods that a request placed before may go to; never none of some."""


class Wait(Enum):
    """Why there is no choice now."""

    FOR_PREFILL = 1
    """No prefill pod has a slot."""
    FOR_ROOM = 2
    """No pod that could decode it has room, or none of the group of a prefill pod that has."""
    REFUSED = 3
    """No pod with room passed the filters."""


class Split:
    """`plan` None: no request is ever split, and prefill pods get nothing."""

    def __init__(self, fleet: Fleet, scheduler: Scheduler, rng: Rng) -> None:
        self.plan: Disaggregation | None = None
        self._fleet = fleet
        self._scheduler = scheduler
        self._rng = rng
        self._pairing = Pairing(fleet.transfer)
        self._looked_at = -math.inf
        self._can_alone = self._has_pair = False

    def choose(self, request: Request, pods: Sequence[Pod], suitable: Suitable, now: float) -> Choice | Wait:
        """Where `request` goes, of `pods`, which have room for it."""
        plan = self.plan
        if plan is None:
            return self._whole(request, suitable(pods), now)
        alone = [pod for pod in pods if serves_alone(pod, plan.connector)]
        if plan.mode == "off" or self._is_hopeless(request, plan, now):
            return self._whole(request, suitable(alone), now)
        cached = self._scheduler.holders(request)
        if plan.mode == "auto" and (near := _with_most_of_it(request, alone, cached, plan.threshold_tokens)):
            return self._whole(request, suitable(near), now)
        pair = self._pair(request, pods, suitable, cached, now)
        if isinstance(pair, Choice):
            return pair
        undisturbed = [pod for pod in alone if pod.role != DECODE or not pod.used]
        if plan.mode == "auto" and undisturbed:  # better than to wait: nobody decodes there who would be held up
            return self._whole(request, suitable(undisturbed), now)
        return pair

    def _is_hopeless(self, request: Request, plan: Disaggregation, now: float) -> bool:
        """Is it of no use to wait for a pair, while some pod can serve it alone?"""
        if now != self._looked_at:  # many are asked about in one round
            serving = [pod for pod in self._fleet.pods.values() if pod.is_serving()]
            self._can_alone = any(serves_alone(pod, plan.connector) for pod in serving)
            self._has_pair = _has_pair(serving)
            self._looked_at = now
        return self._can_alone and (request.lost_handovers >= LOST_HANDOVERS or not self._has_pair)

    def _whole(self, request: Request, pods: Sequence[Pod], now: float) -> Choice | Wait:
        choice = self._scheduler.pick(request, pods, now, self._rng) if pods else None
        return choice or Wait.REFUSED

    def _pair(
        self, request: Request, pods: Sequence[Pod], suitable: Suitable, cached: Mapping[str, float], now: float
    ) -> Choice | Wait:
        prefillers = [pod for pod in pods if pod.role == PREFILL]
        decoders = [pod for pod in pods if pod.role == DECODE]
        if not (prefillers and decoders):
            return Wait.FOR_ROOM if prefillers else Wait.FOR_PREFILL
        able = self._scheduler.able
        prefillers, decoders = (list(able(request, suitable(some), now)) for some in (prefillers, decoders))
        if not (prefillers and decoders):
            return Wait.REFUSED
        choice = self._pairing.best(request, Halves(prefillers, decoders), cached, now, self._rng)
        if choice is None or choice.prefill is None:
            return Wait.FOR_ROOM
        self._scheduler.learn(request, choice.prefill, now)
        self._scheduler.learn(request, choice.pod, now)
        return choice


def _with_most_of_it(
    request: Request, pods: Sequence[Pod], cached: Mapping[str, float], threshold_tokens: int
) -> list[Pod]:
    """Those that have no more than so many tokens of the prompt to compute."""
    least_cached = request.prompt_tokens - threshold_tokens
    return [pod for pod in pods if cached.get(pod.name, 0.0) >= least_cached]


def _has_pair(pods: Sequence[Pod]) -> bool:
    """Are a prefill and a decode pod of one group among them?"""
    prefill_groups = {pod.pd_group for pod in pods if pod.role == PREFILL}
    return any(pod.role == DECODE and pod.pd_group in prefill_groups for pod in pods)
