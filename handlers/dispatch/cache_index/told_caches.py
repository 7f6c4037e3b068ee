"""The exact index as the scheduler uses it: what the engines told, and what was sent to them since.

An engine tells of a prompt some tenths of a second after its first token. Until then a burst with the same beginning
would be strewn over the pool, so whatever was sent counts as told: while the request has not started, and for a moment
after, in which the event comes. Then only what the engine says counts.

    tokens = max(told by the engine, sent and not yet told)       for a pod whose engine tells, and can be believed
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from matrixinfer.bus.contracts.cache import CacheEvent
from matrixinfer.bus.contracts.control import CacheDumped
from matrixinfer.bus.contracts.load import Finished
from matrixinfer.handlers.dispatch.cache_index.approximate import ApproximateIndex
from matrixinfer.handlers.dispatch.cache_index.event_feed import Ask, EventFeed
from matrixinfer.handlers.dispatch.cache_index.kv_index import KvIndex
from matrixinfer.handlers.dispatch.cache_index.mismatch import Suspicion
from matrixinfer.handlers.dispatch.cache_index.predictions import Predictions
from matrixinfer.handlers.dispatch.cache_index.sent_prompts import SentPrompts
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request

LOOK_AFTER_S = 1.0
SENT_COUNTS_S = 2.0
"""Longer than LOOK_AFTER_S by the time that a start has to be told in."""
JUDGE_EVERY_S = 1.0


class _Sent(NamedTuple):
    """`request` went to `pod`; to be looked at `due`."""

    due: float
    request: Request
    pod: Pod


class ToldCaches:
    """Of one pool. Keeps `ExactPrefixes` and `Learner` of the scheduling port; an EventFeed speaks for its index.

    A pod is known while its events are without a gap, and while what the index says of it comes true: of any other the
    scheduler goes by what was sent there. `capacity_blocks` bounds the index, which takes no memory before the first
    event comes: most pools' engines tell nothing.
    """

    def __init__(self, capacity_blocks: int = 8_000_000, pace_s: float = 0.01) -> None:
        self._capacity_blocks = capacity_blocks
        self._pace_s = pace_s
        self._index: KvIndex | None = None
        self._feed: EventFeed | None = None
        self._boots: dict[str, str] = {}
        self._sent = SentPrompts(ApproximateIndex(keep_s=SENT_COUNTS_S))
        self._not_started: deque[_Sent] = deque()
        self._predictions = Predictions()
        self._suspicions: dict[str, Suspicion] = {}
        self._judge_at = -math.inf

    # -- for the scheduler
    def knows(self, pod: str, /) -> bool:
        return self._follows(pod) and pod not in self._suspicions

    def matches(self, block_hashes: bytes, /) -> Mapping[str, float]:
        if self._index is None or self._feed is None:
            return {}
        tokens = self._index.matches(block_hashes)
        for pod, sent in self._sent.matches(block_hashes).items():
            if sent > tokens.get(pod, 0.0):
                tokens[pod] = sent
        for pod in (*self._feed.doubtful, *self._suspicions):
            tokens.pop(pod, None)
        return tokens

    def placed(self, request: Request, pod: Pod, now: float) -> None:
        hashes = request.block_hashes
        if self._index is None or not hashes or not self._follows(pod.name):
            return
        told, sent = self._index.cached_tokens(pod.name, hashes), self._sent.cached_tokens(pod.name, hashes)
        self._predictions.make(request, pod, told, sent, now)
        self._sent.placed(request, pod, now)
        self._not_started.append(_Sent(now + LOOK_AFTER_S, request, pod))

    # -- what comes in
    def hear(self, event: CacheEvent) -> None:
        """Of one of this pool's pods."""
        if self._index is None or self._feed is None:
            self._index = KvIndex(self._capacity_blocks)
            self._feed = EventFeed(self._index, self._pace_s)
        if self._boots.setdefault(event.pod, event.boot) != event.boot:
            self._predictions.forget(event.pod)
            self._boots[event.pod] = event.boot
        self._feed.hear(event)

    def ended(self, pod: str, boot: str, finished: Iterable[Finished]) -> None:
        """The pod says that these have ended."""
        for end in finished:
            self._predictions.ended(pod, boot, end)

    def retain(self, pods: Collection[str]) -> None:
        """All others left the pool."""
        self._sent.retain(pods)
        for pod in self._boots.keys() - set(pods):
            self.gone(pod)

    def gone(self, pod: str) -> None:
        """The pod left the pool, or its agent is silent: nothing is known of it."""
        if self._feed is not None:
            self._feed.gone(pod)
        self._sent.forget(pod)
        self._boots.pop(pod, None)
        self._suspicions.pop(pod, None)
        self._predictions.forget(pod)

    # -- dumps, as EventFeed says
    def next_ask(self, now: float) -> Ask | None:
        return self._feed.next_ask(now) if self._feed is not None else None

    def answered(self, ask: Ask, dumped: CacheDumped, now: float) -> None:
        if self._feed is not None:
            self._feed.answered(ask, dumped, now)

    def unanswered(self, ask: Ask, now: float) -> None:
        if self._feed is not None:
            self._feed.unanswered(ask, now)

    # -- time
    def tick(self, now: float) -> list[Suspicion]:
        """To be called about ten times a second; returns the suspicions that are new."""
        if self._index is None:
            return []
        self._index.clean()
        self._follow_up(now)
        if now < self._judge_at:
            return []
        self._judge_at = now + JUDGE_EVERY_S
        former = self._suspicions
        self._suspicions = {suspicion.pod: suspicion for suspicion in self._predictions.suspicions()}
        return [suspicion for pod, suspicion in self._suspicions.items() if pod not in former]

    def suspicions(self) -> list[Suspicion]:
        """Where hashes, block sizes or tokenizers seem to differ now."""
        return list(self._suspicions.values())

    def cached_tokens(self, pod: str, block_hashes: bytes) -> int:
        """What this pod's engine itself told of the prompt."""
        return self._index.cached_tokens(pod, block_hashes) if self._index is not None else 0

    def _follows(self, pod: str) -> bool:
        return self._feed is not None and not self._feed.is_doubtful(pod)

    def _follow_up(self, now: float) -> None:
        """What was sent and has not started counts on."""
        waiting = self._not_started
        while waiting and waiting[0].due <= now:
            _, request, pod = waiting.popleft()
            if pod.placed.get(request.key) is request:
                self._sent.placed(request, pod, now)
                waiting.append(_Sent(now + LOOK_AFTER_S, request, pod))
        self._sent.sweep(now)
