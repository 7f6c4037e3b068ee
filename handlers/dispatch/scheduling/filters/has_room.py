"""The filter `has_room`: a free slot, room in the KV cache by prediction, and no more prefill ahead than allowed.

With `max_prefill_s` the rest waits in the central queue, where it can still go to whoever is done first.
"""

from __future__ import annotations

from collections.abc import Sequence

from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.parameters import Parameters, Positive


class HasRoomParameters(Parameters, frozen=True):
    max_prefill_s: Positive | None = None
    """A pod whose prefill in flight is predicted to take longer gets nothing more; None: no bound."""


class HasRoom:
    def __init__(self, parameters: HasRoomParameters) -> None:
        self._max_prefill_s = parameters.max_prefill_s

    def keep(self, request: Request, pods: Sequence[Pod], now: float) -> Sequence[Pod]:
        kv_tokens = request.kv_tokens
        roomy = [pod for pod in pods if pod.free > 0 and pod.can_hold(kv_tokens)]
        if (limit_s := self._max_prefill_s) is None:
            return roomy
        return [pod for pod in roomy if _prefill_s(pod, now) <= limit_s]


def _prefill_s(pod: Pod, now: float) -> float:
    """Of what is left in flight; nothing for an idle pod, whatever its engine's fixed part of a first token is."""
    footprints = pod.footprints
    if not footprints.waiting:
        return 0.0
    fixed_s, per_token_s = pod.prefill.line(now)
    return fixed_s + per_token_s * footprints.ahead_tokens(now, per_token_s)
