"""What dispatch knows of one pod: by its own reports, and by what was placed on it since."""

from __future__ import annotations

import math
from collections.abc import Iterable

from matrixinfer.bus.contracts.load import Finished, Snapshot, WorkKey
from matrixinfer.handlers.dispatch.request import Request, RequestKey

_FORMER_BOOTS = 8


class Pod:
    """`reported` is the work that it says it has; `unreported` what was placed and is not heard of yet, with the time.

    `placed` are this process's requests there that have not started. `load` is the used share of the slots. A pod is
    *introduced* when this boot answered a Dump of the reign's epoch: from then on it refuses a predecessor's work.
    """

    __slots__ = (
        "asked_at",
        "boot",
        "closed_until",
        "draining",
        "former_boots",
        "free",
        "heard_at",
        "introduced",
        "listed",
        "load",
        "missed_events",
        "name",
        "placed",
        "reported",
        "retiring",
        "sequence",
        "silent",
        "silent_at",
        "slots",
        "unreported",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.former_boots: list[str] = []
        self.listed = self.retiring = False
        self.silent_at = self.asked_at = -math.inf
        self.placed: dict[RequestKey, Request] = {}
        self._begin("")

    def _begin(self, boot: str) -> None:
        self.boot = boot
        self.sequence = self.slots = self.free = 0
        self.load = 1.0
        self.reported: set[WorkKey] = set()
        self.unreported: dict[WorkKey, float] = {}
        self.introduced = self.draining = self.silent = self.missed_events = False
        self.heard_at = -math.inf
        self.closed_until = 0.0

    def meet(self, boot: str) -> bool:
        """The pod speaks under `boot`; True when it had another one before, so an agent died."""
        if boot == self.boot:
            return False
        former = self.boot
        self._begin(boot)
        if former:
            self.former_boots = [*self.former_boots[1 - _FORMER_BOOTS :], former]
        return bool(former)

    def follow(self, started: Iterable[WorkKey], finished: Iterable[Finished]) -> None:
        for work in started:
            self.unreported.pop(work, None)
            self.reported.add(work)
        for end in finished:
            self.unreported.pop(end.key, None)
            self.reported.discard(end.key)

    def learn(self, snapshot: Snapshot) -> None:
        """Take over the whole state; what it does not hold yet stays unreported."""
        self.slots = snapshot.slots
        self.reported = {*snapshot.running, *snapshot.waiting}
        if self.unreported:
            for work in self.reported:
                self.unreported.pop(work, None)

    def measure(self) -> None:
        """Compute `free` and `load` anew."""
        used = len(self.reported) + len(self.unreported)
        self.free = self.slots - used
        self.load = used / self.slots if self.slots else 1.0

    def is_open(self) -> bool:
        """May it get a request now?"""
        return (
            self.free > 0
            and self.listed
            and self.introduced
            and not (self.silent or self.draining or self.retiring)
            and self.closed_until == 0.0
        )

    def is_serving(self) -> bool:
        """Ready as operators count it: it would get requests if it had room."""
        return self.listed and self.introduced and not (self.silent or self.draining or self.retiring)

    def is_steady(self, now: float, after_s: float) -> bool:
        return now - self.silent_at >= after_s

    def is_doubtful(self, now: float, verify_after_s: float) -> bool:
        """Should it be asked what it has? Not while silent: then other questions are asked."""
        if not self.boot or self.silent:
            return False
        if not self.introduced or self.missed_events:
            return True
        return bool(self.unreported) and now - next(iter(self.unreported.values())) >= verify_after_s
