"""Load events: what an agent says of itself, twice a second and whenever something starts or ends."""

from __future__ import annotations

from typing import Literal

import msgspec

from matrixinfer.bus.contracts.codec import CONTRACT_VERSION
from matrixinfer.bus.contracts.frames import Usage

Outcome = Literal["completed", "failed", "cancelled", "expired", "refused"]


class WorkKey(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One phase of one hop of one attempt: the unit that an agent runs."""

    rid: str
    attempt: int
    hop: int
    phase: str = "whole"


class Finished(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`started` tells whether a first token had been produced: only then is the request no longer dispatch's.

    `handover`, for a decode half: the cache of its prefill was `taken`; or it was `lost`, so that this agent computed
    the prompt itself, or refused the work because it cannot.
    """

    key: WorkKey
    outcome: Outcome
    started: bool
    usage: Usage = Usage()
    ttft_s: float = 0.0
    duration_s: float = 0.0
    handover: Literal["", "taken", "lost"] = ""


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """The whole state of an agent. `waiting` was pulled but has no first token yet; `running` has one.

    `kv_usage` is in [0, 1]; `ttft_s` and `tpot_s` are decayed means in seconds, 0 when nothing was measured.
    `frame_numbers` is the number of the last frame sent to each gateway of late. `bootstrap` is the `host:port` where
    decode engines meet this prefill engine; empty where there is none.
    """

    slots: int
    running: list[WorkKey] = []
    waiting: list[WorkKey] = []
    running_tokens: int = 0
    waiting_tokens: int = 0
    kv_capacity_tokens: int = 0
    kv_usage: float = 0.0
    ttft_s: float = 0.0
    tpot_s: float = 0.0
    adapters: list[str] = []
    frame_numbers: dict[str, int] = {}
    bootstrap: str = ""


class LoadEvent(msgspec.Struct, frozen=True, array_like=True):
    """`sequence` counts the events of this boot from 1: a gap means that a `started` or `finished` may be missing.

    `snapshot` is None in an event that only tells what started and finished.
    """

    namespace: str
    pod: str
    boot: str
    sequence: int
    draining: bool = False
    started: list[WorkKey] = []
    finished: list[Finished] = []
    snapshot: Snapshot | None = None
    version: int = CONTRACT_VERSION
