"""The tokenizers of the pools that name one: loaded while requests go on, and tried again until it succeeds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from matrixinfer.bus.background import Background, within
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.contracts.serving import Pool, Tokenizer
from matrixinfer.gateway.metrics import Metrics
from matrixinfer.gateway.tokenizing.encoder import Encoder, load
from matrixinfer.gateway.tokenizing.errors import TokenizerUnusable

log = logging.getLogger("matrixinfer.gateway.tokenizing")

TRY_AGAIN_S = 30.0

PoolName = tuple[str, str]
"""Namespace and ModelServer."""


class Entry:
    """One tokenizer, of one pool or several. `encoder` is None until it is loaded."""

    def __init__(self, wish: Tokenizer) -> None:
        self.wish = wish
        self.encoder: Encoder | None = None
        self.pools: list[str] = []
        self.tried = asyncio.Event()
        """It was loaded, or that failed once."""


class Encoders:
    """A pool whose tokenizer changed has none until the new one is loaded: the old one's names were wrong. What changes
    on the disk under the same path is seen by the next worker only."""

    def __init__(
        self,
        clock: Clock,
        background: Background,
        metrics: Metrics,
        loading: Callable[[Tokenizer], Encoder] = load,
    ) -> None:
        self._clock = clock
        self._background = background
        self._metrics = metrics
        self._load = loading
        self._entries: dict[Tokenizer, Entry] = {}
        self._by_pool: dict[PoolName, Entry] = {}

    def of(self, pool: PoolName) -> Entry | None:
        """None for a pool that names no tokenizer."""
        return self._by_pool.get(pool)

    async def settle(self, at_most_s: float) -> None:
        """Until each was tried once, or for so long: before requests are taken, as loading holds everything up."""

        async def all_tried() -> None:
            for entry in list(self._entries.values()):
                await entry.tried.wait()

        if not await within(self._clock, at_most_s, all_tried(), "loading tokenizers"):
            log.warning("reading the tokenizers takes longer than %g s: requests go on in byte blocks", at_most_s)

    def follow(self, pools: Iterable[Pool]) -> None:
        """These are all pools now."""
        wishes = {(pool.namespace, pool.modelserver): pool.tokenizer for pool in pools if pool.tokenizer is not None}
        former, self._by_pool = self._by_pool, {}
        for entry in self._entries.values():
            entry.pools = []
        for name, wish in wishes.items():
            entry = self._by_pool[name] = self._entry(wish)
            entry.pools.append(label_of(name))
        self._entries = {entry.wish: entry for entry in self._by_pool.values()}
        for name in former.keys() - wishes.keys():
            self._metrics.tokenizer_loaded.remove(label_of(name))
        self._show()

    def _entry(self, wish: Tokenizer) -> Entry:
        entry = self._entries.get(wish)
        if entry is None:
            entry = self._entries[wish] = Entry(wish)
            self._background.spawn(self._keep_loading(entry), f"loading the tokenizer {wish.path}")
        return entry

    async def _keep_loading(self, entry: Entry) -> None:
        told = ""
        while self._entries.get(entry.wish) is entry:
            try:
                entry.encoder = await asyncio.to_thread(self._load, entry.wish)
            except Exception as error:  # a defect too: requests go on, and a start must not wait for it
                if str(error) != told:
                    told = str(error)
                    defect = None if isinstance(error, TokenizerUnusable) else error
                    log.error("%s: prompts travel in byte blocks: %s", ", ".join(entry.pools), error, exc_info=defect)
                entry.tried.set()
            else:
                log.info("%s: the tokenizer %s is loaded", ", ".join(entry.pools), entry.wish.path)
                self._show()
                entry.tried.set()
                return
            await self._clock.sleep(TRY_AGAIN_S)

    def _show(self) -> None:
        for name, entry in self._by_pool.items():
            self._metrics.tokenizer_loaded.labels(label_of(name)).set(entry.encoder is not None)


def label_of(pool: PoolName) -> str:
    return "/".join(pool)
