"""When to ask after a request that is silent, and what the answers mean. Pure; the watchdog acts on it."""

from __future__ import annotations

from enum import Enum, auto

from matrixinfer.bus.contracts.dispatch import WhereAnswer

SILENCE_S = 2.0
LONGEST_SILENCE_S = 10.0
"""A request that dispatch says it has is asked after less and less often, up to this."""
BETWEEN_UNKNOWNS_S = 1.0
GONE_AFTER_S = 6.0
MAX_ATTEMPTS = 3


class Step(Enum):
    NOTHING = auto()
    EXPIRE = auto()
    ASK_AGENT = auto()
    ASK_DISPATCH = auto()


class Finding(Enum):
    WAIT = auto()
    FETCH = auto()
    """It was started: ask the agent for the frames from the beginning."""
    REPUBLISH = auto()
    LOST = auto()


class Silence:
    """One request's silence: when it was last heard of, and what dispatch said since. Times are monotonic seconds."""

    __slots__ = ("_attempts", "_missing_at", "_patience_s", "deadline_at", "heard_at")

    def __init__(self, now: float, deadline_at: float, attempts: int = MAX_ATTEMPTS) -> None:
        """`attempts`: how often it is sent at most."""
        self._attempts = attempts
        self.deadline_at = deadline_at
        self.heard_at = now
        self._patience_s = SILENCE_S
        self._missing_at: float | None = None

    def heard(self, now: float) -> None:
        """Somebody spoke of it: chunks, an acknowledgement, an answer."""
        self.heard_at = now

    def next_step(self, now: float, *, bound: bool, accepted: bool, link_up_since: float | None) -> Step:
        """What to do at `now`. `accepted`: the bus has it, so that somebody can be asked."""
        if now >= self.deadline_at:
            return Step.EXPIRE
        if link_up_since is None or not (bound or accepted):
            return Step.NOTHING
        patience_s = SILENCE_S if bound else self._patience_s
        if now - self.heard_at < patience_s and link_up_since <= self.heard_at:
            return Step.NOTHING
        return Step.ASK_AGENT if bound else Step.ASK_DISPATCH

    def judge(self, answer: WhereAnswer, now: float, attempt: int) -> Finding:
        """What dispatch's answer about the newest `attempt` means."""
        if answer.state in ("queued", "placed"):
            self._missing_at = None
            self.heard_at = now
            self._patience_s = min(2 * self._patience_s, LONGEST_SILENCE_S)
            return Finding.WAIT
        if answer.state == "settled" and answer.pod:
            self._missing_at = None
            return Finding.FETCH
        return self._missing(answer, now, attempt)

    def _missing(self, answer: WhereAnswer, now: float, attempt: int) -> Finding:
        """Nobody has it, once: it may be on its way. Twice, a second apart: it is not."""
        if self._missing_at is None:
            self._missing_at = now
        if now - self._missing_at < BETWEEN_UNKNOWNS_S:
            return Finding.WAIT
        if answer.state == "settled" or attempt >= self._attempts:
            return Finding.LOST
        self._missing_at = None
        self._patience_s = SILENCE_S
        self.heard_at = now
        return Finding.REPUBLISH
