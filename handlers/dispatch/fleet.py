"""The pods of one pool as dispatch sees them, from SERVING, load events, Dumps and its own placements."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from matrixinfer.bus.contracts.control import Dumped
from matrixinfer.bus.contracts.load import LoadEvent, WorkKey
from matrixinfer.bus.contracts.serving import PoolPod
from matrixinfer.handlers.dispatch.closeness import closeness
from matrixinfer.handlers.dispatch.decode_model import DecodeGuess, DecodeModel
from matrixinfer.handlers.dispatch.footprints import Footprint
from matrixinfer.handlers.dispatch.pairs.roles import DECODE, PREFILL
from matrixinfer.handlers.dispatch.pairs.transfer import TransferModel
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.prefill_model import Guess, PrefillModel
from matrixinfer.handlers.dispatch.request import PrefillHalf, Request

__all__ = ["Fleet", "Hearing", "Pod"]

_LONGEST_TICK_S = 1.0
_ASK_EVERY_S = 0.5


class Hearing(NamedTuple):
    """Who was heard; `reborn` when that is another boot than before."""

    pod: Pod
    reborn: bool


class Growth(NamedTuple):
    """`room` is the largest (in tokens of KV cache) of the pods that answer and can take more than before; negative
    infinity when there is none. `has_news`: one of them is new, or has other adapters. `can_prefill`: one of them is
    for prefill, or can prefill without holding up who decodes."""

    room: float
    has_news: bool
    can_prefill: bool = False


class Fleet:
    """`open` holds the pods that may get a request now, by name."""

    def __init__(
        self, silent_after_s: float, verify_after_s: float, on_departure: Callable[[str], None] = lambda _: None
    ) -> None:
        """`on_departure` is called with the name of a pod that is forgotten: no more will be heard of it."""
        self._on_departure = on_departure
        self._silent_after_s = silent_after_s
        self._verify_after_s = verify_after_s
        self._last_tick = -math.inf
        self.has_prefill_pods = False
        self._deaf_until = -math.inf  # before this time nobody could have been heard
        self.prefill = PrefillModel(Guess())
        self.decode = DecodeModel(DecodeGuess())
        """Both of all pods together: where a new one starts."""
        self.transfer = TransferModel()
        self.max_tpot_s = 0.0
        """Pods get no more requests than keep tokens so close together by prediction; 0: no bound."""
        self.pods: dict[str, Pod] = {}
        self.open: dict[str, Pod] = {}
        self._rooms: dict[str, tuple[int, float, int, frozenset[str]]] = {}
        """Of the open pods: slots, tokens of KV cache, prefill ahead, adapters, as they were at the last look."""
        self._growth = -math.inf
        self._has_news = self._can_prefill = False

    def list_pods(self, listed: Mapping[str, PoolPod]) -> None:
        """The pool's pods by SERVING. One that left stays known while it has requests."""
        for name in listed.keys() - self.pods.keys():
            self.pods[name] = Pod(name, self.prefill, self.decode)
        for pod in self.pods.values():
            pod.listed = pod.retiring = False
            if pod.name in listed:
                pod.describe(listed[pod.name])
            self._review(pod)
        self.has_prefill_pods = any(pod.role == PREFILL for pod in self.pods.values())
        self._forget_the_departed()

    def begin_reign(self) -> None:
        """A new epoch: nobody has answered a Dump of it yet."""
        for pod in self.pods.values():
            pod.introduced = False
            self._review(pod)

    def used(self) -> int:
        """Slots in use at all pods."""
        return sum([pod.used for pod in self.pods.values()])

    def largest_room(self) -> float:
        """In tokens of KV cache, of the pods that may get a request now; negative infinity without one."""
        return max([room[1] for room in self._rooms.values()], default=-math.inf)

    def take_growth(self) -> Growth:
        """Since this was asked last."""
        growth = Growth(self._growth, self._has_news, self._can_prefill)
        self._growth, self._has_news, self._can_prefill = -math.inf, False, False
        return growth

    def serving(self) -> int:
        return sum([pod.is_serving() for pod in self.pods.values()])

    # -- what agents tell
    def hear(self, event: LoadEvent, now: float) -> Hearing | None:
        """Take a load event in; None when it tells nothing: an unknown pod, a former boot, an event seen before."""
        pod = self.pods.get(event.pod)
        if pod is None or event.boot in pod.former_boots:
            return None
        reborn = pod.meet(event.boot)
        if event.sequence <= pod.sequence:
            return None
        pod.missed_events |= 0 < pod.sequence != event.sequence - 1
        pod.sequence = event.sequence
        pod.heard_at = now
        pod.silent = False
        if pod.is_doubted:
            pod.is_doubted, pod.closed_until = False, 0.0
        pod.draining = event.draining
        for wait in pod.follow(event.started, event.finished, now):
            self.prefill.observe(wait.tokens, wait.seconds, now)
        if event.snapshot is not None:
            pod.learn(event.snapshot, now)
        if self.max_tpot_s:
            self._bound_requests(pod, event, now)
        self._review(pod)
        return Hearing(pod, reborn)

    def inform(self, name: str, dumped: Dumped, now: float) -> Hearing | None:
        """Take the answer to a Dump in. It introduces the pod, but ends no silence: only load events do."""
        pod = self.pods.get(name)
        if pod is None or dumped.boot in pod.former_boots:
            return None
        reborn = pod.meet(dumped.boot)
        pod.introduced = True
        pod.heard_at = now if pod.heard_at == -math.inf else pod.heard_at
        if dumped.sequence >= pod.sequence:  # else events overtook the answer, and know better
            pod.sequence = dumped.sequence
            pod.draining = dumped.draining
            pod.missed_events = False
            pod.learn(dumped.snapshot, now)
        pod.follow((), dumped.finished, now)
        self._review(pod)
        return Hearing(pod, reborn)

    def bound_tpot(self, max_tpot_s: float) -> None:
        """From now on tokens are to come no farther apart; 0: no bound. How it can be kept is learned on the way."""
        if max_tpot_s == self.max_tpot_s:
            return
        self.max_tpot_s = max_tpot_s
        for pod in self.pods.values():
            pod.most_requests = math.inf
            self._review(pod)

    def _bound_requests(self, pod: Pod, event: LoadEvent, now: float) -> None:
        for work in event.started:
            pod.decode.start(work, pod.used)
        for end in event.finished:
            pace = pod.decode.end(end, pod.used, now)
            if pace is not None:
                self.decode.observe(pace.requests, pace.seconds, now)
        if event.snapshot is not None:
            pod.decode.forget_all_but(pod.reported)
        pod.most_requests = pod.decode.most(self.max_tpot_s, now)

    # -- what dispatch does
    def place(self, pod: Pod, request: Request, work: WorkKey, epoch: int, now: float) -> None:
        request.put_on(pod.name, pod.boot, work, epoch, now)
        pod.placed[request.key] = request
        uncached_tokens, output_tokens = request.prompt_tokens - request.cached_tokens, request.output_tokens
        if work.phase == "decode":  # the prompt comes whole, and computed
            self._hold(pod, request, Footprint(0, request.kv_tokens, output_tokens=output_tokens), work, now)
        else:
            kv_tokens = uncached_tokens + output_tokens
            self._hold(pod, request, Footprint(uncached_tokens, kv_tokens, output_tokens=output_tokens), work, now)

    def place_prefill(self, pod: Pod, request: Request, half: PrefillHalf, now: float) -> None:
        """`request` was placed on a pair, of which this is the pod that prefills."""
        request.prefill = half
        pod.prefilling[request.key] = request
        uncached_tokens = request.prompt_tokens - request.cached_tokens
        self._hold(pod, request, Footprint(uncached_tokens, uncached_tokens), half.work, now)

    def prefilled(self, request: Request, now: float) -> None:
        """The prefill half ended well: what follows until the first token is the transfer."""
        if request.prefill is not None:
            request.prefilled_by, request.prefilled_at = request.prefill.pod, now

    def decoded(self, pod: Pod, request: Request, now: float) -> None:
        """The first token of a request that was placed on a pair."""
        prefiller = self.pods.get(request.prefilled_by)
        if prefiller is not None:
            close = closeness(prefiller.topology, pod.topology)
            self.transfer.observe(request.prompt_tokens, close, now - request.prefilled_at, now)

    def _hold(self, pod: Pod, request: Request, expected: Footprint, work: WorkKey, now: float) -> None:
        if work not in pod.reported:
            pod.unreported[work] = now
            _, per_token_s = pod.prefill.line(now)
            pod.footprints.add(
                work,
                expected.prefill_tokens,
                expected.kv_tokens,
                now,
                per_token_s,
                output_tokens=expected.output_tokens,
                is_silent=request.is_silent and work.phase != "prefill",
            )
        self._review(pod)

    def release(self, request: Request) -> None:
        """The request is no longer the dispatcher's at its pod; its slot stays in use until the pod says otherwise."""
        pod = self.pods.get(request.pod)
        if pod is not None and pod.placed.get(request.key) is request:
            del pod.placed[request.key]
        self.release_prefill(request)

    def release_prefill(self, request: Request) -> None:
        """The same for the half that prefills; a request on one pod has none."""
        if request.prefill is None:
            return
        pod = self.pods.get(request.prefill.pod)
        if pod is not None and pod.prefilling.get(request.key) is request:
            del pod.prefilling[request.key]
        request.prefill = None

    def free_slot(self, name: str, work: WorkKey) -> None:
        """The pod will never report this work."""
        pod = self.pods.get(name)
        if pod is not None and pod.take_off(work):
            self._review(pod)

    def pause(self, name: str, until: float) -> None:
        """Give the pod nothing until then."""
        pod = self.pods.get(name)
        if pod is not None:
            pod.closed_until = until
            self._review(pod)

    def doubt(self, name: str, now: float) -> None:
        """Somebody met it dead, by all appearances: give it nothing until it is heard, or falls silent."""
        pod = self.pods.get(name)
        if pod is not None:
            pod.is_doubted = True
            self.pause(name, now + self._silent_after_s)

    # -- time
    def tick(self, now: float, link_up_since: float | None) -> list[Pod]:
        """Look at the time; returns the pods that fell silent since. Without a connection nobody is silent."""
        if now - self._last_tick > _LONGEST_TICK_S:
            self._deaf_until = now  # this process stood still: what was sent meanwhile waits to be read
        self._last_tick = now
        self._forget_the_departed()
        fallen = []
        for pod in self.pods.values():
            if pod.closed_until and now >= pod.closed_until:
                pod.closed_until = 0.0
                self._review(pod)
            if pod.boot and not pod.silent and link_up_since is not None:
                heard_at = max(pod.heard_at, link_up_since, self._deaf_until)
                if now - heard_at >= self._silent_after_s:
                    pod.silent, pod.silent_at = True, now
                    self._review(pod)
                    fallen.append(pod)
        return fallen

    def to_ask(self, now: float) -> list[str]:
        """Pods that should be asked what they have."""
        return [pod.name for pod in self.pods.values() if self.is_to_ask(pod, now)]

    def is_to_ask(self, pod: Pod, now: float) -> bool:
        """Should it be asked now what it has? The answer is taken as done, for half a second."""
        if now - pod.asked_at < _ASK_EVERY_S or not pod.is_doubtful(now, self._verify_after_s):
            return False
        pod.asked_at = now
        return True

    def _review(self, pod: Pod) -> None:
        pod.measure()
        if not pod.is_open():
            self.open.pop(pod.name, None)
            self._rooms.pop(pod.name, None)
            return
        self.open[pod.name] = pod
        before = self._rooms.get(pod.name)
        room = self._rooms[pod.name] = (pod.free, pod.room(), pod.footprints.prefill_tokens, pod.adapters)
        if before is None or room[0] > before[0] or room[1] > before[1] or room[2] < before[2] or room[3] != before[3]:
            if pod.role != PREFILL:
                self._growth = max(self._growth, room[1])
            self._can_prefill |= pod.role != DECODE or not pod.used
            if not pod.was_open or room[3] != (before or room)[3]:
                self._has_news = True
                pod.was_open = True

    def _forget_the_departed(self) -> None:
        for name in [name for name, pod in self.pods.items() if not (pod.listed or pod.placed or pod.prefilling)]:
            del self.pods[name]
            self._rooms.pop(name, None)
            self._on_departure(name)
