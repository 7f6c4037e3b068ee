"""What requests cost their tenants: predicted when they go to a pod, corrected when they end."""

from __future__ import annotations

from typing import NamedTuple

from matrixinfer.handlers.dispatch.fair.accounts import Accounts
from matrixinfer.handlers.dispatch.fair.flow import Account
from matrixinfer.handlers.dispatch.fair.output_lengths import OutputLengths
from matrixinfer.handlers.dispatch.fair.settings import FairSettings
from matrixinfer.handlers.dispatch.request import Request, RequestKey

_MOST_OPEN = 100_000


class Bill(NamedTuple):
    account: Account
    virtual_tokens: float
    """For weight 1."""


class Billing:
    """A bill is open from `charge` to `correct` or `refund`; of too many the oldest stays as predicted."""

    def __init__(self, accounts: Accounts, lengths: OutputLengths, settings: FairSettings) -> None:
        self._accounts = accounts
        self._lengths = lengths
        self._prompt_token_cost = settings.prompt_token_cost
        self._output_token_cost = settings.output_token_cost
        self._open: dict[RequestKey, Bill] = {}

    def cost(self, uncached_tokens: float, output_tokens: float) -> float:
        """Virtual tokens for weight 1. At least 1: a request for nothing would wait for nothing."""
        return max(1.0, self._prompt_token_cost * uncached_tokens + self._output_token_cost * output_tokens)

    def expected_cost(self, request: Request, cached_tokens: int = 0) -> float:
        output_tokens = self._lengths.expect(request.tenant, request.max_tokens)
        return self.cost(max(0, request.prompt_tokens - cached_tokens), output_tokens)

    def charge(self, request: Request, account: Account, cached_tokens: int) -> None:
        """An open bill of the same request is replaced."""
        if request.key in self._open:
            self.refund(request.key)
        bill = Bill(account, self.expected_cost(request, cached_tokens))
        self._open[request.key] = bill
        account.in_flight += 1
        self._accounts.add(account, bill.virtual_tokens)
        self._accounts.served(account)
        if len(self._open) > _MOST_OPEN:
            self._close(next(iter(self._open)))

    def refund(self, key: RequestKey) -> bool:
        """Give it all back; False when there is no open bill."""
        bill = self._close(key)
        if bill is not None:
            self._accounts.add(bill.account, -bill.virtual_tokens)
        return bill is not None

    def correct(self, key: RequestKey, uncached_tokens: int, output_tokens: int) -> bool:
        """Put the real cost in the place of the predicted one; False when there is no open bill."""
        bill = self._close(key)
        if bill is not None:
            self._lengths.learn(bill.account.tenant, output_tokens)
            self._accounts.add(bill.account, self.cost(uncached_tokens, output_tokens) - bill.virtual_tokens)
        return bill is not None

    def _close(self, key: RequestKey) -> Bill | None:
        bill = self._open.pop(key, None)
        if bill is not None:
            bill.account.in_flight -= 1
        return bill
