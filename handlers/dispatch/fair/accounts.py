"""The virtual token counters: what each tenant has had, and what a tenant that was away begins again with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

import msgspec

from matrixinfer.handlers.dispatch.fair.bands import Bands
from matrixinfer.handlers.dispatch.fair.flow import Account


class FairnessSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """What a successor must know to go on in the same order. Counters are virtual tokens, output lengths tokens."""

    level: float = 0.0
    """The smallest counter of those that wait, or else of the last one that did."""
    waiting: dict[str, float] = {}
    """Tenant → counter of those whose requests wait, or are at a pod and have not started: these come again, and are
    charged again, so their charges are left out."""
    idle: dict[str, float] = {}
    """Of the others, who is ahead of `level`."""
    output_tokens: tuple[float, int] = (0.0, 0)
    """Mean output of the pool, and the answers that it stands for."""
    tenant_output_tokens: dict[str, tuple[float, int]] = {}


class Accounts:
    """Virtual token counters (VTC, arXiv 2401.00588, algorithm 2). Active is a tenant with waiting requests.

    One that becomes active is lifted to the smallest counter of the active ones, or, when there are none, to that of
    the last one that was: being away saves nothing up. Who would be lifted past all it has to remember is forgotten.

    The paper assumes a fixed set of clients. An endless row of new ones, each lifted to a smallest counter that never
    moves, would starve one with a larger counter; so nobody is lifted to below the counter of a tenant that has seen
    `most_newcomers` of them since it was last served.
    """

    def __init__(self, weights: Mapping[str, float], bands: Bands, most_newcomers: int, remembered: int) -> None:
        self._weights = weights
        self._bands = bands
        self._most_newcomers = most_newcomers
        self._remembered = remembered
        self._accounts: dict[str, Account] = {}
        self._active: OrderedDict[str, Account] = OrderedDict()
        """Who was served longest ago comes first."""
        self._active_weight = 0.0
        self._newcomers = 0
        self._floor = 0.0
        self._last_active: Account | None = None
        self._resumed_level: float | None = None
        self._resuming: frozenset[str] = frozenset()
        self._forget_beyond = 64

    def __len__(self) -> int:
        return len(self._accounts)

    def active(self) -> Iterable[Account]:
        return self._active.values()

    def reweigh(self, weights: Mapping[str, float]) -> None:
        """From now on these count; what was charged before stays as it was divided."""
        self._weights = weights
        for account in self._accounts.values():
            account.weight = self._weight(account.tenant)
        self._active_weight = sum(account.weight for account in self._active.values())

    def waiting(self) -> int:
        """Tenants with requests in the queue."""
        return len(self._active)

    def share(self, account: Account) -> float:
        """Its part of all service while the same tenants wait, itself among them."""
        others = self._active_weight - (account.weight if account.waiting else 0.0)
        return account.weight / (max(0.0, others) + account.weight)

    def find(self, tenant: str) -> Account:
        """Opened when there is none, at the level of one that becomes active."""
        account = self._accounts.get(tenant)
        if account is None:
            if len(self._accounts) >= self._forget_beyond:
                self._forget()
            account = self._accounts[tenant] = Account(tenant, self._weight(tenant))
            account.counter = self.level()
        return account

    def enter(self, tenant: str) -> Account:
        """The account of a tenant with a request that begins to wait."""
        account = self.find(tenant)
        if not account.waiting:
            self._activate(account)
        return account

    def leave(self, account: Account) -> None:
        """None of its requests waits any more."""
        del self._active[account.tenant]
        self._active_weight = self._active_weight - account.weight if self._active else 0.0
        self._last_active = account

    def add(self, account: Account, virtual_tokens: float) -> None:
        """It had so much more (or less, if negative), for weight 1."""
        account.counter += virtual_tokens / account.weight
        if virtual_tokens < 0:
            self._bands.touch_account(account)

    def served(self, account: Account) -> None:
        """One of its requests went to a pod."""
        account.seen_newcomers = self._newcomers
        if account.waiting:
            self._active.move_to_end(account.tenant)

    def level(self) -> float:
        """To where one that becomes active now is lifted at least."""
        if self._resumed_level is not None:
            return self._resumed_level
        least = self._bands.least()
        if least is not None:
            return max(self._floor, least)
        return max(self._floor, self._last_active.counter if self._last_active else 0.0)

    # -- a takeover
    def snapshot(self, most: int) -> FairnessSnapshot:
        """Of more than `most` tenants those with the smallest waiting counters and the largest idle ones."""
        level = self.level()
        waiting, idle = {}, {}
        for name, account in self._accounts.items():
            if account.has_unstarted():
                waiting[name] = account.counter - account.unstarted_cost / account.weight
            elif account.counter > level:
                idle[name] = account.counter
        waiting = dict(sorted(waiting.items(), key=lambda each: each[1])[:most])
        idle = dict(sorted(idle.items(), key=lambda each: -each[1])[: most - len(waiting)])
        return FairnessSnapshot(level, waiting, idle)

    def restore(self, snapshot: FairnessSnapshot) -> None:
        """Go on from there; who has an account here keeps it. Until `end_resuming` the level is the predecessor's, and
        those that waited are not lifted: they come again in any order, and were not away."""
        self._resumed_level = snapshot.level
        self._resuming = frozenset(snapshot.waiting)
        for tenant, counter in {**snapshot.idle, **snapshot.waiting}.items():
            if tenant not in self._accounts:
                account = self._accounts[tenant] = Account(tenant, self._weight(tenant))
                account.counter = counter

    def end_resuming(self) -> None:
        """Whatever waited has come again; from now on one that comes was away."""
        self._floor = max(self._floor, self._resumed_level or 0.0)
        self._resumed_level = None
        self._resuming = frozenset()

    # -- one that was away
    def _activate(self, account: Account) -> None:
        self._raise_floor()
        if account.tenant not in self._resuming:
            account.counter = max(account.counter, self.level())
        account.seen_newcomers = self._newcomers
        self._active[account.tenant] = account
        self._active_weight += account.weight

    def _raise_floor(self) -> None:
        self._newcomers += 1
        while self._active:
            longest = next(iter(self._active.values()))
            if self._newcomers - longest.seen_newcomers <= self._most_newcomers:
                return
            self._floor = max(self._floor, longest.counter)
            longest.seen_newcomers = self._newcomers
            self._active.move_to_end(longest.tenant)

    def _forget(self) -> None:
        """Now and then: O(1) for each tenant that came."""
        level = self.level()
        idle = [each for each in self._accounts.values() if not (each.waiting or each.in_flight)]
        idle.sort(key=lambda account: account.counter)
        too_many = len(idle) - self._remembered
        for at, account in enumerate(idle):
            if account.counter > level and at >= too_many:
                break
            del self._accounts[account.tenant]
        self._forget_beyond = max(64, 2 * len(self._accounts))

    def _weight(self, tenant: str) -> float:
        return self._weights.get(tenant, 1.0)
