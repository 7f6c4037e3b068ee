"""Prefill and decode on two pods: how a pool does it, and what its two agents tell each other about one request.

Both halves of a request go out together. The decode half waits at its agent until the prefill agent hands over, or
until it is clear that it never will; nobody else has to be alive for that.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from matrixinfer.bus.contracts.frames import Failure
from matrixinfer.bus.contracts.load import WorkKey

Connector = Literal["sglang", "nixl", "mooncake", "lmcache", "http"]
"""How the KV cache moves. `sglang`: both engines work at once and meet at the prefill engine's bootstrap server.
`nixl`, `mooncake`: prefill answers with `kv_transfer_params`, decode starts with them. `lmcache`, `http`: prefill makes
one token, then decode finds the prefix where the engines share it; nothing is handed over but the word."""

Mode = Literal["off", "always", "auto"]
"""Is a request split? `off`: never. `always`: whenever a pair is there. `auto`: when there is enough to prefill."""


class Disaggregation(msgspec.Struct, frozen=True):
    """Of one pool. In mode `auto` a request with up to `threshold_tokens` that no cache has goes to one pod alone.

    The prefill half may take `prefill_timeout_s`, and from its end to the first token `transfer_timeout_s`.
    """

    connector: Connector = "http"
    mode: Mode = "auto"
    threshold_tokens: int = 512
    prefill_timeout_s: float = 120.0
    transfer_timeout_s: float = 30.0


class Counterpart(msgspec.Struct, frozen=True, array_like=True):
    """In the envelope of a half: the agent that has the other one, and how the cache gets from one to the other.

    `bootstrap` is the `host:port` of the prefill engine, `room` the number of this request there: for `sglang` only.
    """

    connector: Connector
    pod: str
    boot: str
    prefill_timeout_s: float
    transfer_timeout_s: float
    bootstrap: str = ""
    room: int = 0


class Handed(msgspec.Struct, frozen=True, array_like=True, tag="handed"):
    """To the decode agent of `boot`: the prefill of `key` (the decode half's) is done, here is what its engine said
    (`kv_transfer_params` as JSON; nothing where the connector has none). Or it never will be, for the reason `lost`;
    `fault` is there when the request itself is the reason: no other engine would take it either."""

    key: WorkKey
    boot: str
    params: bytes = b""
    lost: str = ""
    fault: Failure | None = None


class Parted(msgspec.Struct, frozen=True, array_like=True, tag="parted"):
    """To the prefill agent of `boot`: nobody waits for `key` (the prefill half's) any more."""

    key: WorkKey
    boot: str
    reason: str = "cancelled"


Handover = Handed | Parted
"""Requests on `mi.handover.<ns>.<pod>`, answered with control's Done; also for work that has not come yet."""
