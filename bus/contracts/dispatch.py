"""What gateway and dispatch say to each other beside the request itself."""

from __future__ import annotations

from typing import Literal

import msgspec

from matrixinfer.bus.contracts.codec import CONTRACT_VERSION
from matrixinfer.bus.subjects import key


class Cancelled(msgspec.Struct, frozen=True, array_like=True):
    """The client is gone: forget these attempts. Kept as a tombstone for `remaining_s` seconds."""

    rid: str
    attempt: int
    remaining_s: float


class CancelNotice(msgspec.Struct, frozen=True, array_like=True):
    requests: list[Cancelled]


class WhereQuestion(msgspec.Struct, frozen=True, array_like=True):
    rid: str
    attempt: int


class WhereAnswer(msgspec.Struct, frozen=True, array_like=True):
    """`queued`: at `position` (0 is next). `placed`: at `pod`. `settled`: started or ended, no longer dispatch's.

    `unknown`: the dispatcher has never seen it; only then may the gateway publish it again. `pod`, `boot`, `hop` and
    `phase` are those of the last placement, of the half that answers; also of a settled request: with them a gateway
    can ask for a replay.
    """

    state: Literal["queued", "placed", "settled", "unknown"]
    position: int = 0
    pod: str = ""
    boot: str = ""
    hop: int = 0
    phase: str = "whole"


class PluginTiming(msgspec.Struct, frozen=True, array_like=True):
    """What a plug-in of the profile, by kind and name (`scorer token_load`), took in the calls that were measured since
    the profile came: one decision in 16 is. `total_s` and `calls` only grow, until the next profile or dispatcher."""

    plugin: str
    calls: int
    total_s: float
    longest_s: float


class QueueReport(msgspec.Struct, frozen=True, array_like=True):
    """The queue of one pool, as dispatch sees it, four times a second. `suspicions` say, in words, at which pods the
    index of caches seems to be wrong; `timings` tell what scheduling costs."""

    namespace: str
    modelserver: str
    shard: int
    epoch: int
    queued: int
    placed: int
    queued_bytes: int
    oldest_age_s: float
    pods_ready: int
    predicted_wait_s: float
    suspicions: list[str] = []
    timings: list[PluginTiming] = []


class CacheSuspicion(msgspec.Struct, frozen=True, array_like=True):
    """The caches of this pod's boot do not hold what the index says: tokens are means over requests of late."""

    pod: str
    boot: str
    predicted_tokens: float
    reported_tokens: float


class CacheSuspicions(msgspec.Struct, frozen=True, array_like=True):
    """Of one pool's shard, in the bucket REIGNS under `suspicions_key`: written by its dispatcher when other pods are
    suspected than before, read by reconcilers and by the next dispatcher. `epoch` is the writer's."""

    epoch: int
    suspicions: list[CacheSuspicion]
    version: int = CONTRACT_VERSION


SUSPICIONS = "suspicions"
"""The family of these keys in REIGNS."""


def suspicions_key(namespace: str, modelserver: str, shard: int) -> str:
    return key(SUSPICIONS, namespace, modelserver, str(shard))
