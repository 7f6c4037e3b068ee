"""Whole or in two halves? A pool with prefill and decode pods splits what is worth it, and serves the rest on one pod.

A remote prefill spares those who decode a long pause, and costs a transfer and a second slot: so in mode `auto` a short
prompt, or one of which nearly all is cached where it is decoded, stays whole (conditional disaggregation); and so does
any where the prefill pods are so far behind that to hold up those who decode costs less. Where no prefill pod serves at
all, and after pairs that failed, a request is decoded alone, by pods that can.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from matrixinfer.bus.contracts.disaggregation import Disaggregation
from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.fleet import Fleet
from matrixinfer.handlers.dispatch.pairs.pairing import LOOKED_AT, Halves, Pairing, uncached_tokens
from matrixinfer.handlers.dispatch.pairs.roles import DECODE, answers, prefills, serves_alone
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.candidates import candidates
from matrixinfer.handlers.dispatch.scheduling.port import Choice, Scheduler
from matrixinfer.handlers.dispatch.scheduling.scorers.predicted_ttft import PredictedTtft, PredictedTtftParameters

LOST_HANDOVERS = 2
"""Pairs that may fail for one request before it is tried without."""

DECODING_WEIGHT = 0.25
"""What a second of prefill at a decode pod counts for each that decodes there. More than among pods that do both: these
were set apart so that nobody is held up."""

BETTER_ALONE = 2.0
"""So many times less it must cost: what a prefill does to those who come to decode later is not in the costs."""

Suitable = Callable[[Sequence[Pod]], Sequence[Pod]]
"""Those of some pods that a request placed before may go to; never none of some."""


class Wait(Enum):
    """Why there is no choice now."""

    FOR_PREFILL = 1
    """No prefill pod has a slot."""
    FOR_ROOM = 2
    """No pod that could decode it has room."""
    REFUSED = 3
    """No pod with room passed the filters."""
    FOR_PARTNER = 4
    """Pods of both kinds have room, but none of them are of one group."""


class Split:
    """`plan` None: no request is ever split, and prefill pods get nothing."""

    def __init__(self, fleet: Fleet, scheduler: Scheduler, rng: Rng) -> None:
        self.plan: Disaggregation | None = None
        self._fleet = fleet
        self._scheduler = scheduler
        self._rng = rng
        self._pairing = Pairing(fleet.transfer)
        self._alone = PredictedTtft(PredictedTtftParameters(decoding_weight=DECODING_WEIGHT))
        self._looked_at = -math.inf
        self._can_alone = self._has_pair = False
        self._prefill_groups: set[str] = set()

    def choose(self, request: Request, pods: Sequence[Pod], suitable: Suitable, now: float) -> Choice | Wait:
        """Where `request` goes, of `pods`, which have room for it."""
        plan = self.plan
        if plan is None:
            if self._fleet.has_prefill_pods:
                pods = [pod for pod in pods if answers(pod)]
            return self._whole(request, suitable(pods), now)
        alone = [pod for pod in pods if serves_alone(pod, plan.connector)]
        if plan.mode == "off" or self._is_hopeless(request, plan, now):
            return self._whole(request, suitable(alone), now)
        cached = self._scheduler.holders(request)
        if plan.mode == "auto" and (near := _with_most_of_it(request, alone, cached, plan.threshold_tokens)):
            return self._whole(request, suitable(near), now)
        pair = self._pair(request, pods, suitable, cached, now)
        if plan.mode == "auto" and (better := self._better_alone(request, alone, pair, cached, now)):
            return self._whole(request, suitable(better), now)
        if isinstance(pair, Choice) and pair.prefill is not None:
            self._scheduler.learn(request, pair.prefill, now)
            self._scheduler.learn(request, pair.pod, now)
        return pair

    def computing(self, pods: Mapping[str, Pod]) -> Mapping[str, Pod]:
        """Those of `pods` that compute prompts: where every request is split, decode pods do not."""
        plan = self.plan
        if plan is None or (plan.mode != "always" and plan.connector != "sglang"):
            return pods
        return {name: pod for name, pod in pods.items() if pod.role != DECODE}

    def _better_alone(
        self, request: Request, pods: Sequence[Pod], pair: Choice | Wait, cached: Mapping[str, float], now: float
    ) -> list[Pod]:
        """Pods that can do it for much less than the pair costs, with what it costs those who decode there. While no
        pair has room: those where nobody decodes who would be held up, or that no prefill pod serves. Any, when no pod
        may take a half of it."""
        if pair is Wait.REFUSED:
            return list(pods)
        if isinstance(pair, Wait):
            return [
                pod for pod in pods if pod.role != DECODE or not pod.used or pod.pd_group not in self._prefill_groups
            ]
        few = candidates(pods, cached, frozenset(), LOOKED_AT, self._rng)
        most_s = sum(pair.candidates[0].scores.values()) / BETTER_ALONE
        return [pod for pod in few if self._alone.cost_s(pod, uncached_tokens(request, pod, cached), now) < most_s]

    def _is_hopeless(self, request: Request, plan: Disaggregation, now: float) -> bool:
        """Is it of no use to wait for a pair, while some pod can serve it alone?"""
        if now != self._looked_at:  # many are asked about in one round
            serving = [pod for pod in self._fleet.pods.values() if pod.is_serving()]
            self._can_alone = any(serves_alone(pod, plan.connector) for pod in serving)
            self._prefill_groups = {pod.pd_group for pod in serving if prefills(pod, plan.connector)}
            self._has_pair = any(pod.role == DECODE and pod.pd_group in self._prefill_groups for pod in serving)
            self._looked_at = now
        return self._can_alone and (request.lost_handovers >= LOST_HANDOVERS or not self._has_pair)

    def _whole(self, request: Request, pods: Sequence[Pod], now: float) -> Choice | Wait:
        choice = self._scheduler.pick(request, pods, now, self._rng) if pods else None
        return choice or Wait.REFUSED

    def _pair(
        self, request: Request, pods: Sequence[Pod], suitable: Suitable, cached: Mapping[str, float], now: float
    ) -> Choice | Wait:
        prefillers = [pod for pod in pods if self.plan is not None and prefills(pod, self.plan.connector)]
        decoders = [pod for pod in pods if pod.role == DECODE]
        if not (prefillers and decoders):
            return Wait.FOR_ROOM if prefillers else Wait.FOR_PREFILL
        able = self._scheduler.able
        prefillers, decoders = (list(able(request, suitable(some), now)) for some in (prefillers, decoders))
        if not (prefillers and decoders):
            return Wait.REFUSED
        choice = self._pairing.best(request, Halves(prefillers, decoders), cached, now, self._rng)
        return choice or Wait.FOR_PARTNER


def _with_most_of_it(
    request: Request, pods: Sequence[Pod], cached: Mapping[str, float], threshold_tokens: int
) -> list[Pod]:
    """Those that have no more than so many tokens of the prompt to compute."""
    least_cached = request.prompt_tokens - threshold_tokens
    return [pod for pod in pods if cached.get(pod.name, 0.0) >= least_cached]
