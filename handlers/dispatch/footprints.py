"""What the work at one pod takes there, by prediction: tokens to prefill until its first one, room in the KV cache
until its end. Load is known by this and by events, never by asking."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from matrixinfer.bus.contracts.load import Snapshot, WorkKey


class Footprint(msgspec.Struct, frozen=True, gc=False):
    """`prefill_tokens` are those of the prompt that the pod has to compute, `kv_tokens` those and the predicted output,
    which is `output_tokens`: what it has cached already is shared with others, and counted with the first of them.

    `ahead_tokens` had to be computed at the pod when this was placed, its own included: what its first token waits for.
    `placed_at` is 0 for a guess about work that another dispatcher placed. Of one that `is_silent` (an answer in one
    piece) nothing is heard before its end, so nobody knows when its prompt is done.
    """

    prefill_tokens: int
    kv_tokens: int
    ahead_tokens: int = 0
    placed_at: float = 0.0
    output_tokens: int = 0
    is_silent: bool = False


class Wait(NamedTuple):
    """A first token that came `seconds` after its placing, behind `tokens` of prefill."""

    tokens: int
    seconds: float


class Footprints:
    """Added at dispatch, the prefill dropped at the first token, freed at the end. Both sums are at the present."""

    __slots__ = ("_held", "_moved_at", "_waiting", "kv_tokens", "prefill_tokens", "silent_tokens")

    def __init__(self) -> None:
        self.prefill_tokens = 0
        self.silent_tokens = 0
        """Those of `prefill_tokens` that may be computed already."""
        self.kv_tokens = 0
        self._held: dict[WorkKey, Footprint] = {}
        self._waiting: dict[WorkKey, None] = {}
        self._moved_at = 0.0  # since when the oldest one's prefill is under way

    @classmethod
    def told(cls, prefill_tokens: int, kv_tokens: int, waiting: int) -> Footprints:
        """As they were once: `waiting` nameless works, and sums that stand still."""
        footprints = cls()
        for number in range(waiting):
            footprints._hold(WorkKey("", 0, number), Footprint(0, 0))
        footprints.prefill_tokens, footprints.kv_tokens = prefill_tokens, kv_tokens
        return footprints

    def __len__(self) -> int:
        return len(self._held)

    @property
    def waiting(self) -> int:
        """How many have not had their first token."""
        return len(self._waiting)

    def ahead_tokens(self, now: float, per_token_s: float) -> float:
        """What is left to prefill, at the rate at which it goes since the last first token. At most the oldest prompt
        is done, or its first token would have been heard of: so a pod that hangs keeps its queue."""
        if not self._waiting or per_token_s <= 0.0:
            return self.prefill_tokens
        oldest_tokens = self._held[next(iter(self._waiting))].prefill_tokens
        return self.prefill_tokens - min((now - self._moved_at) / per_token_s, oldest_tokens)

    def add(
        self,
        work: WorkKey,
        prefill_tokens: int,
        kv_tokens: int,
        now: float,
        per_token_s: float = 0.0,
        *,
        output_tokens: int = 0,
        is_silent: bool = False,
    ) -> None:
        """Work was placed at a pod that takes so long for a token of prefill (0: unknown). Placing the same again
        changes nothing."""
        if work in self._held:
            return
        if not self._waiting:
            self._moved_at = now
        ahead_tokens = round(self.ahead_tokens(now, per_token_s)) + prefill_tokens
        self._hold(work, Footprint(prefill_tokens, kv_tokens, ahead_tokens, now, output_tokens, is_silent))

    def start(self, work: WorkKey, now: float) -> Wait | None:
        """Its first token came; how long it took, for work that was placed here."""
        footprint = self._held.get(work)
        if footprint is None or work not in self._waiting:
            return None
        del self._waiting[work]
        self._moved_at = max(self._moved_at, now)
        self._prefilled(footprint)
        return Wait(footprint.ahead_tokens, now - footprint.placed_at) if footprint.placed_at else None

    def end(self, work: WorkKey) -> None:
        footprint = self._held.pop(work, None)
        if footprint is None:
            return
        self.kv_tokens -= footprint.kv_tokens
        if work in self._waiting:
            del self._waiting[work]
            self._prefilled(footprint)

    def agree(self, snapshot: Snapshot, unreported: Iterable[WorkKey]) -> None:
        """Hold just what the pod reports and what it cannot have reported yet. Work of which nothing is known counts
        with the mean of what the pod has. What is running takes what the engine tells, where it tells that."""
        present = {*snapshot.running, *snapshot.waiting, *unreported}
        for work in self._held.keys() - present:
            self.end(work)
        if len(self._held) < len(present):
            self._guess(snapshot)
        for work in snapshot.running:
            self.start(work, 0.0)
        if snapshot.running_tokens > 0:
            self._correct(snapshot)

    def _correct(self, snapshot: Snapshot) -> None:
        """Prompts are only guessed at until they run. Together, running work takes no more than what the engine tells
        and its whole output; where the prediction is above, its prompts make up for it, each by its share."""
        prompts = {work: self._held[work].kv_tokens - self._held[work].output_tokens for work in snapshot.running}
        predicted_tokens = sum(prompts.values())
        surplus = predicted_tokens - snapshot.running_tokens
        if surplus <= 0:
            return
        for work, own_tokens in prompts.items():
            share = surplus * own_tokens // predicted_tokens
            held = self._held[work]
            self._held[work] = msgspec.structs.replace(held, kv_tokens=held.kv_tokens - share)
            self.kv_tokens -= share

    def _guess(self, snapshot: Snapshot) -> None:
        waiting_tokens = snapshot.waiting_tokens // max(1, len(snapshot.waiting))
        running_tokens = snapshot.running_tokens // max(1, len(snapshot.running))
        for work in snapshot.waiting:
            if work not in self._held:
                self._hold(work, Footprint(waiting_tokens, waiting_tokens))
        for work in snapshot.running:
            if work not in self._held:
                self._hold(work, Footprint(0, running_tokens))

    def _hold(self, work: WorkKey, footprint: Footprint) -> None:
        self._held[work] = footprint
        self._waiting[work] = None
        self.prefill_tokens += footprint.prefill_tokens
        self.kv_tokens += footprint.kv_tokens
        if footprint.is_silent:
            self.silent_tokens += footprint.prefill_tokens

    def _prefilled(self, footprint: Footprint) -> None:
        self.prefill_tokens -= footprint.prefill_tokens
        if footprint.is_silent:
            self.silent_tokens -= footprint.prefill_tokens
