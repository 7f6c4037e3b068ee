"""What this agent was given: what it takes and refuses, what waits and runs, and what ended of late.

Pure: `now` and all times are monotonic seconds.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Generic, Literal, TypeVar

from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.bus.contracts.load import Finished, Outcome, WorkKey

REMEMBER_ENDED_S = 60.0
REMEMBER_ENDED_COUNT = 65_536
REMEMBER_ABORTED_S = 3600.0
"""As long as WORK may hold a message: an abort must outlive the work that it overtook."""
REMEMBER_ABORTED_COUNT = 65_536

Refusal = Literal["duplicate", "refused", "cancelled", "expired"]
Pool = tuple[str, str, int]


class Work:
    """One piece of work in hand, from its pull to the engine's last word on it.

    `outcome` is set early when somebody ends the work before the engine does; the slot is free only after the
    engine's final piece.
    """

    __slots__ = ("deadline_at", "first_at", "gateway", "handover", "key", "outcome", "output_tokens", "pulled_at")

    def __init__(self, key: WorkKey, gateway: str, pulled_at: float, deadline_at: float) -> None:
        self.key = key
        self.gateway = gateway
        self.pulled_at = pulled_at
        self.deadline_at = deadline_at
        self.first_at: float | None = None
        self.outcome: Outcome | None = None
        self.output_tokens = 0
        self.handover: Literal["", "taken", "lost"] = ""


W = TypeVar("W", bound=Work)


class Ledger(Generic[W]):
    """The book of one boot."""

    def __init__(self, boot: str) -> None:
        self.draining = False
        self.in_hand: dict[WorkKey, W] = {}
        self._boot = boot
        self._epochs: dict[Pool, int] = {}
        self._ended: dict[WorkKey, Finished] = {}
        self._ended_order: deque[tuple[float, Finished]] = deque()
        self._aborted: OrderedDict[WorkKey, float] = OrderedDict()

    # -- taking and refusing
    def judge(self, key: WorkKey, envelope: Envelope, deadline_at: float, now: float) -> Refusal | None:
        """None when the work is to be taken, else why not.

        A duplicate comes first: refusing a copy of what runs here would make dispatch place it again. Then aborts:
        whoever aborted it does not want it elsewhere either, as `refused` would.
        """
        if self.is_known(key):
            return "duplicate"
        if self._aborted and key in self._aborted:
            return "cancelled"
        pool = (envelope.namespace, envelope.modelserver, envelope.shard)
        if self.draining or envelope.boot != self._boot or not self.fence(pool, envelope.epoch):
            return "refused"
        return "expired" if deadline_at <= now else None

    def fence(self, pool: Pool, epoch: int) -> bool:
        """Refuse work of `pool` older than `epoch` from now on; False when a newer epoch was heard before."""
        newest = self._epochs.get(pool, 0)
        if epoch > newest:
            self._epochs[pool] = epoch
        return epoch >= newest

    def take(self, work: W) -> None:
        self.in_hand[work.key] = work

    def abort(self, key: WorkKey, now: float) -> W | None:
        """The work to end; or None, and what is not here yet will be refused when it comes."""
        work = self.in_hand.get(key)
        if work is None and not self.is_known(key):
            self._aborted[key] = now
            self._aborted.move_to_end(key)
            if len(self._aborted) > REMEMBER_ABORTED_COUNT:
                self._aborted.popitem(last=False)
        return work

    def is_known(self, key: WorkKey) -> bool:
        """It is here, or was here until lately."""
        if key in self.in_hand:
            return True
        ended = self._ended.get(key)  # refused work never ran: a later copy of it may
        return ended is not None and ended.outcome != "refused"

    # -- ending
    def finish(self, work: W, outcome: Outcome, usage: Usage, now: float) -> Finished:
        """The engine is through with it."""
        del self.in_hand[work.key]
        started = work.first_at is not None
        ttft_s = work.first_at - work.pulled_at if work.first_at is not None else 0.0
        duration_s = now - work.pulled_at
        return self._remember(Finished(work.key, outcome, started, usage, ttft_s, duration_s, work.handover), now)

    def refuse(self, key: WorkKey, outcome: Outcome, now: float) -> Finished:
        """It never ran here."""
        return self._remember(Finished(key, outcome, started=False), now)

    def _remember(self, finished: Finished, now: float) -> Finished:
        self._ended[finished.key] = finished
        self._ended_order.append((now, finished))
        self.forget(now)
        return finished

    def forget(self, now: float) -> None:
        """Drop what is too old to matter; bounded in count as well."""
        order = self._ended_order
        while order and (order[0][0] <= now - REMEMBER_ENDED_S or len(order) > REMEMBER_ENDED_COUNT):
            _, finished = order.popleft()
            if self._ended.get(finished.key) is finished:
                del self._ended[finished.key]
        while self._aborted and next(iter(self._aborted.values())) <= now - REMEMBER_ABORTED_S:
            self._aborted.popitem(last=False)

    # -- questions
    def waiting(self) -> list[W]:
        """Pulled, without a first token yet."""
        return [work for work in self.in_hand.values() if work.first_at is None]

    def running(self) -> list[W]:
        """Has a first token."""
        return [work for work in self.in_hand.values() if work.first_at is not None]

    def overdue(self, now: float) -> list[W]:
        """Past its deadline, and not ended by anyone yet."""
        return [work for work in self.in_hand.values() if work.deadline_at <= now and work.outcome is None]

    def of_gateway(self, gateway: str) -> list[W]:
        return [work for work in self.in_hand.values() if work.gateway == gateway]

    def gateways(self) -> set[str]:
        """Those that wait for something that is in hand."""
        return {work.gateway for work in self.in_hand.values()}

    def ended_of_late(self, now: float) -> list[Finished]:
        """The ends of the last 60 s, oldest first."""
        self.forget(now)
        return list(self._ended.values())


def keys_of(works: Iterable[Work]) -> list[WorkKey]:
    return [work.key for work in works]
