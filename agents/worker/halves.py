"""One half of a request at its agent: what it waits for, and what comes next. Pure: all times are monotonic seconds.

    prefill   the engine computes the prompt ── done ──> Handed to the decode agent
                                             ── else ──> Handed(lost)

    decode    waiting ── handed ──> together ── first token ──> the answer, as of any work
                 │                     │
                 └── lost, late ──> leaving, until the engine has let go ──> alone, or refused

With a connector whose engines meet by themselves there is nothing to wait for, and no way to run alone.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Literal

from matrixinfer.agents.worker.connectors import AT_ONCE, WITH_PARAMS, params_of
from matrixinfer.bus.contracts.disaggregation import Counterpart, Handed
from matrixinfer.bus.contracts.frames import Failure
from matrixinfer.bus.contracts.load import Outcome, WorkKey

NOT_THE_REQUESTS_FAULT = frozenset({408, 429, 499})
NEVER = float("inf")


class PrefillHalf:
    """`due_at`: the engine has to be done by then."""

    def __init__(self, counterpart: Counterpart, pulled_at: float) -> None:
        self.counterpart = counterpart
        self.due_at = pulled_at + counterpart.prefill_timeout_s
        self.answer = b""
        """The engine's, when it is done."""
        self.lost = ""
        """Why it never will be, when that is known."""
        self.fault: Failure | None = None

    def failed(self, failure: Failure) -> None:
        """The engine's last word is a failure."""
        self.lost = f"the prefill engine failed with {failure.status}: {failure.message}"
        if 400 <= failure.status < 500 and failure.status not in NOT_THE_REQUESTS_FAULT:
            self.fault = failure

    def last_word(self, key: WorkKey, outcome: Outcome) -> Handed | None:
        """To the decode agent, when this half ends with `outcome`. None: there is nothing to say."""
        counterpart = self.counterpart
        theirs = counterpart_key(key)
        if outcome == "cancelled":
            return None
        if outcome != "completed":
            return Handed(theirs, counterpart.boot, lost=self.lost or _REASONS[outcome], fault=self.fault)
        if counterpart.connector in AT_ONCE:
            return None
        if counterpart.connector not in WITH_PARAMS:
            return Handed(theirs, counterpart.boot)
        if params := params_of(self.answer):
            return Handed(theirs, counterpart.boot, params)
        return Handed(theirs, counterpart.boot, lost="the prefill engine's answer has no kv_transfer_params")


_REASONS: dict[Outcome, str] = {
    "failed": "the prefill half failed",
    "expired": "the request's deadline passed before its prefill was done",
    "refused": "the prefill agent did not take the work, or had to stop",
}


class Next(Enum):
    """What a decode half has to do."""

    STAY = auto()
    """Nothing new."""
    TOGETHER = auto()
    """Give the engine the job that finds its prompt computed."""
    ALONE = auto()
    """Give the engine the client's body."""
    LEAVE = auto()
    """Have the engine abort its job; `engine_ended` says how it goes on."""
    REFUSE = auto()
    """End as refused: another place has to be found."""
    FAIL = auto()
    """Tell the client the failure."""


class _Stage(Enum):
    WAITING = auto()
    TOGETHER = auto()
    LEAVING = auto()
    ALONE = auto()
    STARTED = auto()


class DecodeHalf:
    """`due_at`: the prefill has to be handed over by then, and later: the first token has to be there."""

    def __init__(self, counterpart: Counterpart, pulled_at: float) -> None:
        self.counterpart = counterpart
        self.body: bytes | None = None
        """The client's, as soon as it is here."""
        self.params = b""
        self.lost = ""
        self.fault: Failure | None = None
        self.handover: Literal["", "taken", "lost"] = ""
        """As `Finished` tells it."""
        self._meets = counterpart.connector in AT_ONCE
        self.due_at = pulled_at + counterpart.prefill_timeout_s
        if self._meets:
            self.due_at += counterpart.transfer_timeout_s
        self._is_handed = False
        self._stage = _Stage.WAITING

    @property
    def is_waiting(self) -> bool:
        """The engine has not heard of it."""
        return self._stage is _Stage.WAITING

    @property
    def is_leaving(self) -> bool:
        """What the engine still says of its job is not the answer."""
        return self._stage is _Stage.LEAVING

    @property
    def is_prefill_wanted(self) -> bool:
        """As far as this half was told, its prefill is still to be done."""
        return not self._is_handed and not self.lost

    def arrived(self, body: bytes) -> Next:
        """The client's body is here."""
        self.body = body
        return self._next()

    def handed(self, handed: Handed, now: float) -> Next:
        """The prefill is done, or lost: the first word counts."""
        if not self.is_prefill_wanted:
            return Next.STAY
        if handed.lost:
            self.fault = handed.fault
            return self._lose(handed.lost)
        self._is_handed = True
        self.params = handed.params
        if self._stage is _Stage.WAITING:
            self.due_at = now + self.counterpart.transfer_timeout_s
        return self._next()

    def overdue(self) -> Next:
        """`due_at` has passed without a first token."""
        late = "was not handed over" if self.is_prefill_wanted and not self._meets else "did not arrive"
        return self._lose(f"the computed prompt {late} in time")

    def engine_ended(self, failure: Failure | None) -> Next:
        """The engine's last word came before any other. None: it is the whole answer."""
        if self._stage is _Stage.LEAVING:
            return self._without()
        if failure is None or self._stage is _Stage.ALONE or failure.status < 500:
            return Next.FAIL if failure is not None else Next.STAY
        self._lose(f"the decode engine failed with {failure.status}: {failure.message}")
        return self._without()

    def started(self) -> None:
        """The first token is there: nothing is due any more, and nothing can be lost."""
        if self._stage is _Stage.TOGETHER:
            self.handover = "taken"
        self._stage = _Stage.STARTED
        self._is_handed = True
        self.due_at = NEVER

    def _next(self) -> Next:
        if self._stage is not _Stage.WAITING:
            return Next.STAY
        if self.lost and (self._meets or self.body is not None):
            return self._without()
        if self.body is None:
            return Next.STAY
        if self._is_handed or self._meets:
            self._stage = _Stage.TOGETHER
            return Next.TOGETHER
        return Next.STAY

    def _lose(self, reason: str) -> Next:
        self.lost = self.lost or reason
        self.handover = "lost"
        self.due_at = NEVER
        if self._stage is _Stage.TOGETHER:
            self._stage = _Stage.LEAVING
            return Next.LEAVE
        return self._next()

    def _without(self) -> Next:
        if not self._meets:
            self._stage = _Stage.ALONE
            return Next.ALONE
        return Next.FAIL if self.fault is not None else Next.REFUSE


Half = PrefillHalf | DecodeHalf


def counterpart_key(key: WorkKey) -> WorkKey:
    """Of the other half."""
    return WorkKey(key.rid, key.attempt, key.hop, "decode" if key.phase == "prefill" else "prefill")
