"""What a decision saw, taken down in columns before anything changes: enough to decide again (`hindsight`).

It is part of every decision, so what seldom changes of a pod is taken down once, and again when it did.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

from matrixinfer.bus.contracts.decision import PodSight
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.port import Ask, Seen

COMPLETE_ONE_IN = 100
"""Of so many requests one has every candidate recorded."""
_COUNTED = 64
"""In a larger pool the sum of all used slots is not counted: that would take longer than all the rest."""
_SIGHTS = 10_000


class _Known(NamedTuple):
    revision: int
    line: tuple[float, float]
    sight: PodSight


def has_all_recorded(rid: str) -> bool:
    """Are all candidates of this request recorded? The same request has the same answer everywhere."""
    return zlib.crc32(rid.encode()) % COMPLETE_ONE_IN == 0


class Witness:
    """Of one pool's decisions."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def see(self, ask: Ask, chosen: Sequence[int]) -> Seen:
        """Take down those of `ask.pods` with the indices in `chosen`, in their order."""
        request, everyone, now = ask.request, ask.everyone, ask.now
        sights, used, prefill_tokens, kv_tokens, waiting = [], [], [], [], []
        for index in chosen:
            pod = ask.pods[index]
            footprints, line = pod.footprints, pod.prefill.line(now)
            sights.append(self._sight(pod, line))
            used.append(pod.used)
            prefill_tokens.append(round(footprints.ahead_tokens(now, line[1])))
            kv_tokens.append(footprints.kv_tokens)
            waiting.append(footprints.waiting)
        approximate = [ask.approximate_tokens[index] for index in chosen]
        exact = [ask.exact_tokens[index] for index in chosen]
        return Seen(
            now,
            len(everyone),
            sum([pod.used for pod in everyone]) if len(everyone) <= _COUNTED else -1,
            sights,
            used,
            prefill_tokens,
            kv_tokens,
            approximate if any(approximate) else [],
            exact if exact.count(None) < len(exact) else [],
            [_adapters(ask.pods[index], request) for index in chosen] if request.adapter else [],
            is_complete=False,
            waiting=waiting,
        )

    def _sight(self, pod: Pod, line: tuple[float, float]) -> PodSight:
        known = self._known.get(pod.name)
        if known is not None and known.revision == pod.revision and known.line is line:
            return known.sight
        if len(self._known) >= _SIGHTS:
            self._known.clear()  # pods that came and went
        sight = PodSight(
            pod.name,
            pod.told.slots,
            pod.told.kv_capacity_tokens,
            pod.told.kv_usage,
            pod.told.ttft_s,
            pod.told.tpot_s,
            pod.measured_at,
            *line,
            pod.role,
            pod.pd_group,
            list(pod.topology),
        )
        self._known[pod.name] = _Known(pod.revision, line, sight)
        return sight


def _adapters(pod: Pod, request: Request) -> tuple[bool, int, bool, int]:
    """As `Inputs.adapters`."""
    coming = {placed.adapter for placed in pod.placed.values() if placed.adapter} - pod.adapters
    return request.adapter in pod.adapters, len(pod.adapters), request.adapter in coming, len(coming)
