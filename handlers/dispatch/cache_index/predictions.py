"""What the exact index predicted for requests under way, held against what their engines report at the end."""

from __future__ import annotations

from typing import NamedTuple

from matrixinfer.bus.block_hashes import BLOCK_TOKENS, HASH_BYTES
from matrixinfer.bus.contracts.load import Finished
from matrixinfer.handlers.dispatch.cache_index.mismatch import MismatchCheck, Suspicion
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request, RequestKey

UNDER_WAY = 16_384
OWED = 16_384
PATIENCE_S = 5.0
"""After a prompt was placed for the first time: by then its engine has told of it, if ever."""
FORGOTTEN_AFTER_S = 60.0


class _Prediction(NamedTuple):
    pod: str
    boot: str
    tokens: int


class Predictions:
    """A prompt that was sent to the pod of late, but is not told yet, says nothing for or against the index: it may be
    cached by the time that the next one starts. What is still not told after PATIENCE_S the engine does not call so."""

    def __init__(self) -> None:
        self._check = MismatchCheck()
        self._made: dict[RequestKey, _Prediction] = {}
        self._owed: dict[tuple[str, bytes], float] = {}
        """The pod and the first block of which its engine should tell soon → since when."""

    def make(self, request: Request, pod: Pod, told_tokens: int, sent_tokens: float, now: float) -> None:
        """The index says so many tokens of the prompt, and as many were sent there of late."""
        if sent_tokens > told_tokens and not self._is_overdue(pod.name, request.block_hashes, told_tokens, now):
            return
        self._made[request.key] = _Prediction(pod.name, pod.boot, min(told_tokens, request.prompt_tokens))
        if len(self._made) > UNDER_WAY:
            del self._made[next(iter(self._made))]

    def ended(self, pod: str, boot: str, end: Finished) -> None:
        """The pod says that this work has ended."""
        made = self._made.pop((end.key.rid, end.key.attempt), None)
        if made is not None and (made.pod, made.boot) == (pod, boot) and end.outcome == "completed":
            self._check.observe(pod, made.tokens, end.usage.cached_tokens)

    def recall(self, pod: str, predicted_tokens: float, reported_tokens: float) -> None:
        """A predecessor suspected the pod, by these means."""
        self._check.recall(pod, predicted_tokens, reported_tokens)

    def forget(self, pod: str) -> None:
        """The pod is gone, or has another boot."""
        self._check.forget(pod)

    def suspicions(self) -> list[Suspicion]:
        return self._check.suspicions()

    def _is_overdue(self, pod: str, hashes: bytes, told_tokens: int, now: float) -> bool:
        start = told_tokens // BLOCK_TOKENS * HASH_BYTES
        missing = (pod, hashes[start : start + HASH_BYTES])
        since = self._owed.get(missing)
        if since is None or now - since > FORGOTTEN_AFTER_S:
            if len(self._owed) >= OWED:
                self._owed.clear()
            self._owed[missing] = since = now
        return now - since >= PATIENCE_S
