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

from matrixinfer.bus.block_hashes import BLOCK_TOKENS, HASH_BYTES
from matrixinfer.bus.contracts.cache import CacheEvent
from matrixinfer.bus.contracts.control import CacheDumped
from matrixinfer.bus.contracts.dispatch import CacheSuspicion
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


class _Known(NamedTuple):
    """Of one prompt: tokens by pods, as the engines told, as was sent of late, and what to believe."""

    hashes: bytes
    told: Mapping[str, float]
    sent: Mapping[str, float]
    believed: Mapping[str, float]


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
        self._tokens_only: set[str] = set()
        """Pods whose engines name their blocks by tokens: of prompts in byte blocks they tell nothing."""
        self._sent = SentPrompts(ApproximateIndex(keep_s=SENT_COUNTS_S))
        self._not_started: deque[_Sent] = deque()
        self._predictions = Predictions()
        self._suspicions: dict[str, Suspicion] = {}
        self._judge_at = -math.inf
        self._latest: _Known | None = None
        """The last prompt that was asked for, until something changes."""

    # -- for the scheduler
    def knows(self, pod: str, /) -> bool:
        return self._follows(pod) and pod not in self._suspicions

    def knows_bytes(self, pod: str, /) -> bool:
        return pod not in self._tokens_only and self.knows(pod)

    def matches(self, block_hashes: bytes, /) -> Mapping[str, float]:
        return self._look_up(block_hashes).believed

    def placed(self, request: Request, pod: Pod, now: float) -> None:
        hashes = request.block_hashes
        if self._index is None or not hashes or not self._follows(pod.name):
            return
        if pod.name in self._tokens_only and not request.tokenized:
            return
        known, whole_tokens = self._look_up(hashes), len(hashes) // HASH_BYTES * BLOCK_TOKENS
        told_tokens = int(known.told.get(pod.name, 0.0))
        if 0 < told_tokens < whole_tokens:  # perhaps in a slow tier, where tokens count less
            told_tokens = self._index.cached_tokens(pod.name, hashes)
        self._predictions.make(request, pod, told_tokens, known.sent.get(pod.name, 0.0), now)
        if told_tokens < whole_tokens:
            self._sent.placed(request, pod, now)
            self._not_started.append(_Sent(now + LOOK_AFTER_S, request, pod))
            self._latest = None

    def _look_up(self, hashes: bytes) -> _Known:
        """A scheduler asks for the prompt that it places, and the queue before it: asked again, it costs nothing."""
        if self._latest is None or self._latest.hashes is not hashes:
            self._latest = self._known(hashes)
        return self._latest

    def _known(self, hashes: bytes) -> _Known:
        if self._index is None or self._feed is None:
            return _Known(hashes, {}, {}, {})
        told, sent = self._index.matches(hashes), self._sent.matches(hashes)
        believed = dict(told)
        for pod, tokens in sent.items():
            if tokens > believed.get(pod, 0.0):
                believed[pod] = tokens
        for pod in (*self._feed.doubtful, *self._suspicions):
            believed.pop(pod, None)
        return _Known(hashes, told, sent, believed)

    # -- what comes in
    def hear(self, event: CacheEvent) -> None:
        """Of one of this pool's pods."""
        self._latest = None
        if self._index is None or self._feed is None:
            self._index = KvIndex(self._capacity_blocks)
            self._feed = EventFeed(self._index, self._pace_s)
        if self._boots.setdefault(event.pod, event.boot) != event.boot:
            self._predictions.forget(event.pod)
            self._boots[event.pod] = event.boot
        (self._tokens_only.add if event.tokens_only else self._tokens_only.discard)(event.pod)
        self._feed.hear(event)

    def ended(self, pod: str, boot: str, finished: Iterable[Finished]) -> None:
        """The pod says that these have ended."""
        for end in finished:
            self._predictions.ended(pod, boot, end)

    def retain(self, pods: Collection[str]) -> None:
        """All others left the pool."""
        self._latest = None
        self._sent.retain(pods)
        for pod in self._boots.keys() - set(pods):
            self.gone(pod)

    def gone(self, pod: str) -> None:
        """The pod left the pool, or its agent is silent: nothing is known of it."""
        self._latest = None
        if self._feed is not None:
            self._feed.gone(pod)
        self._sent.forget(pod)
        self._boots.pop(pod, None)
        self._tokens_only.discard(pod)
        self._suspicions.pop(pod, None)
        self._predictions.forget(pod)

    # -- dumps, as EventFeed says
    def next_ask(self, now: float) -> Ask | None:
        return self._feed.next_ask(now) if self._feed is not None else None

    def answered(self, ask: Ask, dumped: CacheDumped, now: float) -> None:
        self._latest = None
        if self._feed is not None:
            self._feed.answered(ask, dumped, now)

    def unanswered(self, ask: Ask, now: float) -> None:
        self._latest = None
        if self._feed is not None:
            self._feed.unanswered(ask, now)

    # -- time
    def tick(self, now: float) -> list[Suspicion]:
        """To be called about ten times a second; returns the suspicions that are new."""
        if self._index is None:
            return []
        self._latest = None
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

    def suspected(self) -> list[CacheSuspicion]:
        """The same for a successor, by the pods' names."""
        return [
            CacheSuspicion(pod, self._boots.get(pod, ""), one.predicted_tokens, one.reported_tokens)
            for pod, one in self._suspicions.items()
        ]

    def recall(self, suspicions: Iterable[CacheSuspicion]) -> None:
        """Go on from what a predecessor suspected; to be called before anything is heard of these boots."""
        for one in suspicions:
            if self._boots.setdefault(one.pod, one.boot) == one.boot:
                self._predictions.recall(one.pod, one.predicted_tokens, one.reported_tokens)
        self._suspicions = {one.pod: one for one in self._predictions.suspicions()}

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
