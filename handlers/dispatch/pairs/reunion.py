"""The halves of a predecessor's pairs find each other again, so that the end of one is noticed for the other.

A successor adopts the decode half from what its agent tells. Its prefill half is at another pod, which may tell later,
or never: then the decode agent is told that it waits in vain. That is no harm where the prefill was handed over before:
the first word counts. And a prefill half whose decode half is nowhere, so that its request was placed anew, is ended.
"""

from __future__ import annotations

import math

from matrixinfer.bus.contracts.disaggregation import Handed
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.ledger import Ledger
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import PrefillHalf, Request


class Reunion:
    def __init__(self, ledger: Ledger, give_up_after_s: float) -> None:
        """After so long every pod that lives was heard."""
        self._ledger = ledger
        self._give_up_after_s = give_up_after_s
        self._sought: dict[WorkKey, Request] = {}
        """By prefill half."""
        self._complete_at = math.inf

    def begin_reign(self, now: float) -> None:
        self._complete_at = now + self._give_up_after_s

    def adopt(self, request: Request, pod: Pod, work: WorkKey, now: float) -> None:
        """`pod` has the work waiting, from a predecessor."""
        self._ledger.place(request, pod, work, now)
        if work.phase == "decode":
            self._sought[_prefill_of(work)] = request
            self.look(now)

    def look(self, now: float) -> None:
        """Some pod told what it has."""
        if self._sought:
            for pod in self._ledger.fleet.pods.values():
                if not pod.silent:
                    for key in self._sought.keys() & pod.reported:
                        self._unite(self._sought.pop(key), pod, key, now)

    def give_up(self, now: float, effects: Effects) -> None:
        """Those of which no pod has the other half, though each had time to tell."""
        self.look(now)
        if now >= self._complete_at:
            self._complete_at = math.inf
            self._end_widowed(effects)
        for key, request in list(self._sought.items()):
            if not self._is_awaited(request, key):
                del self._sought[key]
            elif request.work is not None and now - request.placed_at >= self._give_up_after_s:
                del self._sought[key]
                lost = Handed(request.work, request.boot, lost="no agent has its prefill half")
                effects.handed.append((request.pod, lost))

    def _end_widowed(self, effects: Effects) -> None:
        for pod in self._ledger.fleet.pods.values():
            for key in [key for key in pod.reported if key.phase == "prefill"]:
                request = self._ledger.requests.get((key.rid, key.attempt))
                if request is not None and (request.work is None or request.work.hop != key.hop):
                    effects.aborted.append((pod.name, key))

    def _unite(self, request: Request, pod: Pod, key: WorkKey, now: float) -> None:
        if self._is_awaited(request, key):
            self._ledger.fleet.place_prefill(pod, request, PrefillHalf(pod.name, pod.boot, key), now)

    def _is_awaited(self, request: Request, key: WorkKey) -> bool:
        """Is it still placed as it was adopted?"""
        is_here = self._ledger.requests.get(request.key) is request
        return is_here and request.work is not None and _prefill_of(request.work) == key and request.prefill is None


def _prefill_of(work: WorkKey) -> WorkKey:
    return WorkKey(work.rid, work.attempt, work.hop, "prefill")
