"""Load events: what is said of starts, ends and state, in one unbroken sequence.

Pure: `now` is in monotonic seconds.
"""

from __future__ import annotations

from matrixinfer.agents.worker.identity import Identity
from matrixinfer.bus.contracts.load import Finished, LoadEvent, Snapshot, WorkKey

SNAPSHOT_GAP_S = 0.02
"""Starts and ends change the snapshot thousands of times a second; saying it more often than this helps nobody."""
MEAN_HALF_LIFE_S = 30.0


class DecayedMean:
    """A mean in which a sample weighs half as much after each half-life; 0 when nothing was measured."""

    def __init__(self, half_life_s: float = MEAN_HALF_LIFE_S) -> None:
        self._half_life_s = half_life_s
        self._total = 0.0
        self._weight = 0.0
        self._at = 0.0

    def add(self, value: float, now: float) -> None:
        decay = 0.5 ** ((now - self._at) / self._half_life_s) if self._weight else 0.0
        self._total = self._total * decay + value
        self._weight = self._weight * decay + 1.0
        self._at = now

    def value(self) -> float:
        return self._total / self._weight if self._weight else 0.0


class Reporter:
    """What is to be said next. `sequence` is that of the last event said."""

    def __init__(self, identity: Identity) -> None:
        self.sequence = 0
        self.ttft_s = DecayedMean()
        self.tpot_s = DecayedMean()
        self._identity = identity
        self._started: list[WorkKey] = []
        self._finished: list[Finished] = []
        self._changed = False
        self._demanded = False
        self._snapshot_at = float("-inf")

    def started(self, key: WorkKey) -> None:
        self._started.append(key)
        self._changed = True

    def finished(self, finished: Finished) -> None:
        self._finished.append(finished)
        self._changed = True

    def measure(self, finished: Finished, now: float) -> None:
        """Let a completed work count for the means."""
        self.ttft_s.add(finished.ttft_s, now)
        later_tokens = finished.usage.output_tokens - 1
        if later_tokens > 0 and finished.duration_s > finished.ttft_s:
            self.tpot_s.add((finished.duration_s - finished.ttft_s) / later_tokens, now)

    def demand_snapshot(self) -> None:
        """The next event carries a snapshot, changed or not."""
        self._demanded = True

    def wants_snapshot(self, now: float) -> bool:
        """Whether the event composed at `now` should carry one."""
        return self._demanded or (self._changed and now - self._snapshot_at >= SNAPSHOT_GAP_S)

    def snapshot_wait_s(self, now: float) -> float | None:
        """How long until a change that was not told by a snapshot may be told; None when there is none."""
        return max(0.0, self._snapshot_at + SNAPSHOT_GAP_S - now) if self._changed else None

    def compose(self, draining: bool, snapshot: Snapshot | None, now: float) -> LoadEvent | None:
        """The next event, or None when there is nothing to say. It counts as said, unless `unsaid` takes it back."""
        if snapshot is None and not self._started and not self._finished:
            return None
        if snapshot is not None:
            self._changed, self._demanded, self._snapshot_at = False, False, now
        self.sequence += 1
        me = self._identity
        started, finished = self._started, self._finished
        self._started, self._finished = [], []
        return LoadEvent(me.namespace, me.pod, me.boot, self.sequence, draining, started, finished, snapshot)

    def unsaid(self, event: LoadEvent) -> None:
        """`event`, the last one composed, could not be sent: its content goes with the next, under its number."""
        self.sequence -= 1
        self._started[:0] = event.started
        self._finished[:0] = event.finished
        self._changed = self._demanded = True
