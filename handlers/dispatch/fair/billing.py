"""What work costs its tenants: predicted when it goes to a pod, corrected when it ends."""

from __future__ import annotations

from collections import OrderedDict, defaultdict

import msgspec

from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.handlers.dispatch.fair.accounts import Accounts
from matrixinfer.handlers.dispatch.fair.flow import Account
from matrixinfer.handlers.dispatch.fair.output_lengths import OutputLengths
from matrixinfer.handlers.dispatch.fair.settings import FairSettings
from matrixinfer.handlers.dispatch.request import Request

_MOST_OPEN = 100_000


class Bill(msgspec.Struct, eq=False):
    """`virtual_tokens` are for weight 1."""

    account: Account
    pod: str
    uncached_tokens: int
    virtual_tokens: float
    has_started: bool = False


class Billing:
    """One bill for each hop: a copy that ends somewhere else touches only its own. Open from `charge` to `correct`,
    `refund` or `leave`; of too many the oldest stays as predicted."""

    def __init__(self, accounts: Accounts, lengths: OutputLengths, settings: FairSettings) -> None:
        self._accounts = accounts
        self._lengths = lengths
        self._prompt_token_cost = settings.prompt_token_cost
        self._output_token_cost = settings.output_token_cost
        self._open: OrderedDict[WorkKey, Bill] = OrderedDict()
        self._at_pod: defaultdict[str, set[WorkKey]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._open)

    def cost(self, uncached_tokens: float, output_tokens: float) -> float:
        """Virtual tokens for weight 1. At least 1: a request for nothing would wait for nothing."""
        return max(1.0, self._prompt_token_cost * uncached_tokens + self._output_token_cost * output_tokens)

    def expected_cost(self, request: Request, cached_tokens: int = 0) -> float:
        output_tokens = self._lengths.expect(request.tenant, request.max_tokens)
        return self.cost(max(0, request.prompt_tokens - cached_tokens), output_tokens)

    def charge(self, request: Request, account: Account, work: WorkKey, pod: str, cached_tokens: int) -> None:
        """An open bill of the same work is replaced."""
        self.refund(work)
        uncached_tokens = max(0, request.prompt_tokens - cached_tokens)
        bill = Bill(account, pod, uncached_tokens, self.expected_cost(request, cached_tokens))
        self._open[work] = bill
        self._at_pod[pod].add(work)
        account.in_flight += 1
        account.count_unstarted(1, bill.virtual_tokens)
        self._accounts.add(account, bill.virtual_tokens)
        self._accounts.served(account)
        if len(self._open) > _MOST_OPEN:
            self._close(next(iter(self._open)))

    def start(self, work: WorkKey) -> bool:
        """From now on it is paid for, however it ends; False when there is no open bill."""
        bill = self._open.get(work)
        if bill is not None and not bill.has_started:
            bill.has_started = True
            bill.account.count_unstarted(-1, bill.virtual_tokens)
        return bill is not None

    def refund(self, work: WorkKey) -> bool:
        """Give it all back. False when there is no open bill, or the work has started: then nothing changes."""
        bill = self._open.get(work)
        if bill is None or bill.has_started:
            return False
        self._close(work)
        self._accounts.add(bill.account, -bill.virtual_tokens)
        return True

    def amend(self, work: WorkKey, uncached_tokens: int) -> None:
        """So many tokens of the prompt were computed for it: what `correct` goes by if it is told no better."""
        bill = self._open.get(work)
        if bill is not None:
            bill.uncached_tokens = uncached_tokens

    def correct(self, work: WorkKey, uncached_tokens: int | None, output_tokens: int, *, learns: bool) -> bool:
        """Put the real cost in the place of the predicted one, with the prompt as predicted if that is all there is.
        `learns`: it is an example of how long answers get. False when there is no open bill."""
        bill = self._close(work)
        if bill is None:
            return False
        if learns:
            self._lengths.learn(bill.account.tenant, output_tokens)
        if uncached_tokens is None:
            uncached_tokens = bill.uncached_tokens
        self._accounts.add(bill.account, self.cost(uncached_tokens, output_tokens) - bill.virtual_tokens)
        return True

    def leave(self, pod: str) -> None:
        """The pod will tell no more: what started there stays as predicted, the rest cost nothing."""
        for work in list(self._at_pod.get(pod, ())):
            if not self.refund(work):
                self._close(work)

    def _close(self, work: WorkKey) -> Bill | None:
        bill = self._open.pop(work, None)
        if bill is not None:
            bill.account.in_flight -= 1
            if not bill.has_started:
                bill.account.count_unstarted(-1, bill.virtual_tokens)
            at_pod = self._at_pod[bill.pod]
            at_pod.discard(work)
            if not at_pod:
                del self._at_pod[bill.pod]
        return bill
