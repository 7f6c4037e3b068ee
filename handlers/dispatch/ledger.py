"""The books of one pool's shard: every request in hand, queued or placed, and those settled or cancelled of late."""

from __future__ import annotations

from typing import NamedTuple

from matrixinfer.bus.contracts.disaggregation import Handed
from matrixinfer.bus.contracts.frames import Failure
from matrixinfer.bus.contracts.load import Finished, WorkKey
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.fair.drain_rate import DrainRate
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.fleet import Fleet
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.recently import Recently
from matrixinfer.handlers.dispatch.request import Request, RequestKey

REMEMBERED_LONGER_S = 10.0
"""Past its deadline a message may still be stored for a moment: times to live count whole seconds."""


class Whereabouts(NamedTuple):
    """Where a settled request was last; empty when it was never placed."""

    pod: str = ""
    boot: str = ""
    hop: int = 0
    phase: str = "whole"


class Ledger:
    """Moves requests between their states. A request is either in `queue` or among its pod's `placed`."""

    def __init__(self, queue: FairQueue, fleet: Fleet, remembered: int) -> None:
        self.queue = queue
        self.fleet = fleet
        self.requests: dict[RequestKey, Request] = {}
        self.settled: Recently[RequestKey, Whereabouts] = Recently(remembered)
        self.tombstones: Recently[RequestKey, bool] = Recently(remembered)
        self.deaths: Recently[RequestKey, int] = Recently(remembered)
        """Of requests in hand, and of a predecessor's that have not come yet."""
        self.drain_rate = DrainRate()
        self.is_short = False
        """Somebody waits for want of room, as of the last placing."""
        self.epoch = 0

    def admit(self, request: Request) -> None:
        self.requests[request.key] = request
        self.queue.push(request)

    def place(self, request: Request, pod: Pod, work: WorkKey, now: float) -> None:
        """Queued (or new) → placed, and charged. Work of phase `decode` is paid for with its prefill."""
        self.requests[request.key] = request
        self.queue.remove(request)
        self.fleet.place(pod, request, work, self.epoch, now)
        self.queue.charge(request, work, pod.name, request.cached_tokens)

    def take_back(self, request: Request, effects: Effects) -> None:
        """Placed → queued, at its old place; the slot counts as free again. A prefill half is ended, and the decode
        agent told so: it may live, and its half would keep a slot until the timeout."""
        if request.work is None:
            return
        if request.prefill is not None:
            effects.aborted.append((request.prefill.pod, request.prefill.work))
            effects.handed.append((request.pod, Handed(request.work, request.boot, lost="it was placed anew")))
        self.fleet.release(request)
        self.write_off(request.pod, request.work)
        request.take_off()
        self.queue.push(request)

    def write_off(self, pod: str, work: WorkKey) -> None:
        """The pod will never run it: its slot is free, and its tenant gets back what it paid."""
        self.fleet.free_slot(pod, work)
        self.queue.refund(work)

    def start(self, work: WorkKey, pod: str, request: Request | None) -> None:
        """It runs. A copy of `request` that was taken for lost, and paid back, is paid for after all."""
        if not self.queue.start(work) and request is not None and request.work != work:
            self.queue.charge(request, work, pod)
            self.queue.start(work)

    def lose_prefill(self, request: Request, why: str, effects: Effects) -> None:
        """Nothing comes of the prefill half any more: its agent ends it if it still can, and the decode agent learns
        that it waits in vain. It goes on alone, or gives the request back."""
        half, work = request.prefill, request.work
        if half is None or work is None:
            return
        self.write_off(half.pod, half.work)
        self.fleet.release_prefill(request)
        effects.aborted.append((half.pod, half.work))
        effects.handed.append((request.pod, Handed(work, request.boot, lost=why)))

    def account(self, end: Finished) -> None:
        """Work ended: its tenant pays for what it used. Who ran nothing pays nothing; one that did not complete says
        nothing about how long answers get, nor always how long its prompt was. Of a decode half with its prefill the
        prompt is paid for as the prefill half told, or as was expected."""
        usage = end.usage
        if end.started or not self.queue.refund(end.key):
            has_prompt = usage.prompt_tokens and end.handover != "taken"
            uncached_tokens = usage.prompt_tokens - usage.cached_tokens if has_prompt else None
            learns = end.outcome == "completed"
            self.queue.correct(end.key, uncached_tokens, usage.output_tokens, learns=learns)

    def settle(self, request: Request, effects: Effects, where: Whereabouts | None = None) -> None:
        """It is no longer the dispatcher's: to be acknowledged, and remembered until its deadline."""
        if self.requests.pop(request.key, None) is None:
            return
        self.deaths.forget(request.key)
        if request.work is None:
            self.queue.remove(request)
        else:
            self.fleet.release(request)
        place = where or Whereabouts(request.pod, request.boot, request.hop, request.phase)
        self.remember(request, place)
        effects.acknowledged.append(request)

    def count_death(self, request: Request, effects: Effects) -> None:
        """An agent died while it had the request, which had not started."""
        request.deaths += 1
        self.deaths.remember(request.key, request.deaths, request.deadline + REMEMBERED_LONGER_S)
        effects.has_deaths = True

    def remember(self, request: Request, place: Whereabouts) -> None:
        """It is settled, here or by a predecessor."""
        self.settled.remember(request.key, place, request.deadline + REMEMBERED_LONGER_S)

    def expect_no_more(self, key: RequestKey, until: float) -> None:
        """It was cancelled before it came."""
        self.tombstones.remember(key, True, until + REMEMBERED_LONGER_S)

    def fail(self, request: Request, failure: Failure, effects: Effects) -> None:
        self.settle(request, effects)
        effects.failed.append((request, failure))
