"""What makes the exact index follow the engines: cache events in their order, and dumps where some are missing.

heard for the first time, another boot, a gap --> doubtful --(asked, all chunks came)--> followed
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple, assert_never

from matrixinfer.bus.contracts.cache import BlocksRemoved, BlocksStored, CacheChange, CacheCleared, CacheEvent
from matrixinfer.bus.contracts.control import CacheDump, CacheDumped
from matrixinfer.handlers.dispatch.cache_index.kv_index import KvIndex

HELD_EVENTS = 1024
"""More events than that during one dump (100 s at 10 a second), and the dump is begun again."""


class Ask(NamedTuple):
    """An order for a pod's agent. To be answered by `answered` or `unanswered`."""

    pod: str
    order: CacheDump


@dataclass(eq=False)
class _Source:
    """One pod: `held` are the events since its dump was asked for, None when there is no dump under way."""

    pod: str
    boot: str = ""
    sequence: int = 0
    held: list[CacheEvent] | None = None
    former_boots: set[str] = field(default_factory=set)


class EventFeed:
    """Feeds `index`; give it the events of the pool's pods only.

    At most one chunk is asked for at a time, and one in `pace_s` seconds: with 4,096 blocks a chunk a rebuild takes at
    most half of a core. A pod that does not answer is asked again after `retry_s`. A doubtful pod's blocks stay in the
    index, and its events are applied as they come, until its dump begins; then events wait for the dump's end.
    """

    def __init__(self, index: KvIndex, pace_s: float = 0.01, retry_s: float = 5.0) -> None:
        self._index = index
        self._pace_s = pace_s
        self._retry_s = retry_s
        self._sources: dict[str, _Source] = {}
        self._doubtful: dict[str, float] = {}  # pod → not to be asked before; the next one first
        self._next: Ask | None = None
        self._asked: Ask | None = None
        self._not_before = -math.inf

    @property
    def doubtful(self) -> Collection[str]:
        """The pods that were heard and are doubtful."""
        return self._doubtful.keys()

    def is_doubtful(self, pod: str) -> bool:
        """May the index be wrong about this pod, by what was missed? Also of a pod never heard."""
        return pod in self._doubtful or pod not in self._sources

    def hear(self, event: CacheEvent) -> None:
        """Take an event in. One of a former boot, or one that came before, tells nothing."""
        source = self._sources.get(event.pod)
        if source is None:
            source = self._sources[event.pod] = _Source(event.pod)
        if event.boot in source.former_boots:
            return
        if event.boot != source.boot:
            self._reborn(source, event.boot)
        if source.held is None:
            self._follow(source, event)
            return
        source.held.append(event)
        if len(source.held) > HELD_EVENTS:
            self._stop_dump(source, -math.inf)

    def gone(self, pod: str) -> None:
        """The pod is no longer of the pool, or its agent is silent: nothing is known of it."""
        source = self._sources.pop(pod, None)
        if source is not None:
            self._abandon(source)
            self._doubtful.pop(pod, None)
            self._index.dropped(pod)

    # -- dumps
    def next_ask(self, now: float) -> Ask | None:
        """What to ask now, and whom; None: nothing yet. To be called every `pace_s` while there are doubtful pods."""
        if self._asked is not None or now < self._not_before:
            return None
        ask = self._next or self._first_ask(now)
        if ask is not None:
            self._asked, self._next = ask, None
            self._not_before = now + self._pace_s
        return ask

    def answered(self, ask: Ask, dumped: CacheDumped, now: float) -> None:
        """Take a chunk in; the answer to an ask that was given up meanwhile tells nothing."""
        if ask is not self._asked:
            return
        source = self._sources[ask.pod]
        if dumped.boot != source.boot:  # who answers is alive, whatever events said
            source.former_boots.discard(dumped.boot)
            self._reborn(source, dumped.boot)
            return
        if dumped.cursor == 0:
            self._index.cleared(source.pod)
            source.sequence = dumped.sequence
        elif (dumped.sequence, dumped.cursor) != (ask.order.sequence, ask.order.cursor):
            self.unanswered(ask, now)
            return
        self._apply(source, dumped.blocks)
        self._asked = None
        if dumped.more:
            self._next = Ask(source.pod, CacheDump(dumped.sequence, dumped.more))
        else:
            del self._doubtful[source.pod]
            self._release(source)

    def unanswered(self, ask: Ask, now: float) -> None:
        """No answer came, or none that makes sense."""
        if ask is self._asked:
            self._stop_dump(self._sources[ask.pod], now + self._retry_s)

    def _first_ask(self, now: float) -> Ask | None:
        for pod, not_before in self._doubtful.items():
            if now >= not_before:
                self._sources[pod].held = []
                return Ask(pod, CacheDump())
        return None

    def _stop_dump(self, source: _Source, not_before: float) -> None:
        """Begin again with this pod, after the others and not before this time."""
        self._abandon(source)
        self._doubtful.pop(source.pod, None)
        self._doubtful[source.pod] = not_before
        self._release(source)

    def _abandon(self, source: _Source) -> None:
        if self._asked is not None and self._asked.pod == source.pod:
            self._asked = None
        if self._next is not None and self._next.pod == source.pod:
            self._next = None

    def _release(self, source: _Source) -> None:
        """The dump is over: what happened meanwhile is next."""
        held, source.held = source.held or [], None
        for event in sorted(held, key=attrgetter("sequence")):
            self._follow(source, event)

    # -- events
    def _reborn(self, source: _Source, boot: str) -> None:
        if source.boot:
            source.former_boots.add(source.boot)
        self._abandon(source)
        source.boot, source.sequence, source.held = boot, 0, None
        self._index.dropped(source.pod)
        self._doubtful[source.pod] = -math.inf

    def _follow(self, source: _Source, event: CacheEvent) -> None:
        if event.sequence <= source.sequence:
            return
        if not event.changes or event.sequence != source.sequence + 1:
            self._doubtful.setdefault(source.pod, -math.inf)
        source.sequence = event.sequence
        self._apply(source, event.changes)

    def _apply(self, source: _Source, changes: list[CacheChange] | list[BlocksStored]) -> None:
        for change in changes:
            match change:
                case BlocksStored():
                    self._index.stored(source.pod, change.hashes, change.tier)
                case BlocksRemoved():
                    self._index.removed(source.pod, change.hashes, change.tier)
                case CacheCleared():
                    self._index.cleared(source.pod)
                case _:
                    assert_never(change)
