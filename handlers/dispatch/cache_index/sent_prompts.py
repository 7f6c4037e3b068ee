"""The approximate index as the scheduler uses it: it learns from every placement, and forgets a pod with its boot."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from matrixinfer.bus.block_hashes import BLOCK_TOKENS
from matrixinfer.handlers.dispatch.cache_index.approximate import ApproximateIndex
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request

_SWEEP_EVERY_S = 60.0


class SentPrompts:
    """Keeps `Prefixes` and `Learner` of the scheduling port. Of a pod it believes as many blocks as its cache holds."""

    def __init__(self, index: ApproximateIndex | None = None) -> None:
        self._index = ApproximateIndex() if index is None else index  # an empty one is false
        self._lives: dict[str, tuple[str, int]] = {}
        """Pod → the boot and the capacity in tokens by which it is known."""
        self._swept_at = -math.inf

    def matches(self, block_hashes: bytes, /) -> Mapping[str, float]:
        return self._index.matches(block_hashes)

    def placed(self, request: Request, pod: Pod, now: float) -> None:
        if not request.block_hashes:
            return
        life = (pod.boot, pod.told.kv_capacity_tokens)
        known = self._lives.get(pod.name)
        if known != life:
            self._meet(pod, known)
            self._lives[pod.name] = life
        self._index.record(pod.name, request.block_hashes, now)

    def sweep(self, now: float) -> None:
        """Forget what was not used for long."""
        self._index.sweep(now)

    def retain(self, pods: Collection[str]) -> None:
        """Forget all others: they left."""
        for name in self._lives.keys() - set(pods):
            self.forget(name)

    def forget(self, pod: str) -> None:
        """It left, or nobody hears of it any more."""
        if self._lives.pop(pod, None) is not None:
            self._index.dropped(pod)

    def tick(self, pods: Mapping[str, Pod], now: float) -> None:
        """Forget those of `pods` that were born again since the last prompt, and now and then what is long unused."""
        reborn = [name for name, (boot, _) in self._lives.items() if name in pods and pods[name].boot != boot]
        for name in reborn:
            self.forget(name)
        if now - self._swept_at >= _SWEEP_EVERY_S:
            self._swept_at = now
            self._index.sweep(now)

    def _meet(self, pod: Pod, known: tuple[str, int] | None) -> None:
        if known is not None and known[0] != pod.boot:
            self._index.dropped(pod.name)
        if pod.told.kv_capacity_tokens:
            self._index.resize(pod.name, max(1, pod.told.kv_capacity_tokens // BLOCK_TOKENS))
