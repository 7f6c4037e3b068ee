"""What another profile would have decided, one recorded decision at a time.

Each one is decided in the situation that was recorded. What would have followed from it (other queues, other caches)
is not played on: that is the simulator's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from matrixinfer.bus.contracts.decision import Decision, PodSight
from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.hindsight.rebuild import Expected, expected, rebuild
from matrixinfer.handlers.dispatch.scheduling.port import Ask, Choice
from matrixinfer.handlers.dispatch.scheduling.runtime import ProfileScheduler

_EQUAL = 1e-9
"""Totals that differ by less are equal: which one was taken was chance."""


class Verdict(NamedTuple):
    """`pod` is where the other profile sends it, empty when it lets it wait; the recorded pod where both are as good.

    `total` and `recorded_total` are the other profile's, of both pods; None for a pod that it does not consider.
    """

    decision: Decision
    pod: str
    expected: Expected
    recorded: Expected
    total: float | None = None
    recorded_total: float | None = None

    @property
    def has_moved(self) -> bool:
        return self.pod not in ("", self.decision.pod)


@dataclass
class Changes:
    """Of all decisions that could be decided again. For `complete` of them every candidate was recorded: by the sample,
    or because there were so few."""

    decisions: int = 0
    complete: int = 0
    moved: int = 0
    moved_complete: int = 0
    held: int = 0
    unrecorded: int = 0
    """Decisions whose record has no inputs."""
    pairs: int = 0
    """Requests that were split between two pods: no profile weighs pairs, so it would have changed nothing."""
    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    cached_before: int = 0
    cached_after: int = 0
    ttft_before_s: float = 0.0
    ttft_after_s: float = 0.0
    """These four are sums over the decisions that both profiles place."""
    examples: list[Verdict] = field(default_factory=list)
    """Those where the predicted first token changes most, the largest change first."""


class Replay:
    """Feed it decisions in the order of their time. `scheduler` learns where requests really went."""

    def __init__(self, scheduler: ProfileScheduler, rng: Rng, examples: int = 3) -> None:
        self._scheduler = scheduler
        self._rng = rng
        self._examples = examples
        self.changes = Changes()

    def decide(self, decision: Decision, sights: list[PodSight]) -> Verdict | None:
        """None when the record does not hold what is needed."""
        changes = self.changes
        if decision.prefill_pod:
            changes.pairs += 1
            return None
        ask = rebuild(decision, sights)
        if ask is None:
            changes.unrecorded += 1
            return None
        verdict = _verdict(decision, ask, self._scheduler.judge(ask, self._rng))
        actual = next((pod for pod in ask.pods if pod.name == decision.pod), None)
        if actual is not None:
            self._scheduler.learn(ask.request, actual, ask.now)
        self._count(verdict)
        return verdict

    def _count(self, verdict: Verdict) -> None:
        changes, decision = self.changes, verdict.decision
        inputs = decision.inputs
        is_complete = inputs is not None and (inputs.is_complete or len(inputs.sights) >= inputs.everyone)
        changes.decisions += 1
        changes.complete += is_complete
        changes.moved += verdict.has_moved
        changes.moved_complete += verdict.has_moved and is_complete
        changes.before[decision.pod] += 1
        if not verdict.pod:
            changes.held += 1
            return
        changes.after[verdict.pod] += 1
        changes.cached_before += verdict.recorded.cached_tokens
        changes.cached_after += verdict.expected.cached_tokens
        changes.ttft_before_s += verdict.recorded.ttft_s
        changes.ttft_after_s += verdict.expected.ttft_s
        if verdict.has_moved:
            changes.examples = sorted([*changes.examples, verdict], key=_size, reverse=True)[: self._examples]


def _verdict(decision: Decision, ask: Ask, choice: Choice | None) -> Verdict:
    by_pod = expected(ask)
    recorded = by_pod.get(decision.pod, Expected(decision.cached_tokens, 0.0))
    if choice is None:
        return Verdict(decision, "", recorded, recorded)
    totals = {candidate.pod: candidate.score for candidate in choice.candidates}
    total, recorded_total = totals[choice.pod.name], totals.get(decision.pod)
    is_equal = recorded_total is not None and abs(total - recorded_total) <= _EQUAL
    pod = decision.pod if is_equal else choice.pod.name
    return Verdict(decision, pod, by_pod[pod], recorded, total, recorded_total)


def _size(verdict: Verdict) -> float:
    return abs(verdict.expected.ttft_s - verdict.recorded.ttft_s)
