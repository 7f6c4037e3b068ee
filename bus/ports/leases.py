"""Leases: who is alive and who owns what, with an epoch that fences the former owner."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Lease:
    """`epoch` tells one tenure from another: as long as the bucket is not lost, it is larger than that of every lease
    acquired before under any name. Nothing outside the bucket is fenced by it: that is what a claim's epoch is for."""

    name: str
    owner: str
    epoch: int
    revision: int
    ttl_s: float


class Leases(Protocol):
    """The bucket LEASES. A lease not renewed for `ttl_s` is free again.

    Absence is not death: a lease that ran out tells that its owner may be gone, never that it is.
    """

    async def acquire(self, name: str, owner: str, *, ttl_s: float) -> Lease | None:
        """Take the lease, or None when somebody else holds it. Raises Unavailable."""
        ...

    async def renew(self, lease: Lease) -> Lease:
        """Keep it; the epoch stays. Raises LeaseLost when it is no longer this owner's, Unavailable when that is
        not known."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give it back at once. Does nothing when it was lost before."""
        ...

    async def claim(self, name: str, owner: str) -> int:
        """Take `name` over from whoever had it, without a time to live; returns the new epoch. For what is assigned
        by other means and needs the fence only.

        The epoch is larger than that of every earlier claim of `name`, at least by one, and never below the unix
        seconds at which it was claimed. So it grows also when the bucket was lost, as long as the wall clock goes on
        and the name had not been claimed more than once a second. Epochs of different names, or of leases, say
        nothing about each other. Raises Unavailable; the claim may then hold all the same."""
        ...

    async def holders(self, prefix: str) -> dict[str, str]:
        """Name → owner of the live leases whose name begins with `prefix`."""
        ...

    async def follow(
        self, prefix: str, handler: Callable[[dict[str, str]], Awaitable[None]]
    ) -> Callable[[], Awaitable[None]]:
        """Call `handler` with the holders now and after every change; returns the function that ends it."""
        ...
