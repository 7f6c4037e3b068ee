"""What dispatch decided and why, one record a placement, many records a message."""

from __future__ import annotations

import msgspec

from matrixinfer.bus.contracts.codec import CONTRACT_VERSION


class Candidate(msgspec.Struct, frozen=True, array_like=True):
    pod: str
    score: float
    scores: dict[str, float] = {}


class Decision(msgspec.Struct, frozen=True, array_like=True):
    """`at` is the dispatcher's wall clock in unix seconds; `queued_s` the time spent in the queue."""

    rid: str
    attempt: int
    hop: int
    tenant: str
    pod: str
    boot: str
    at: float
    queued_s: float
    prompt_tokens: int
    candidates: list[Candidate]
    policy: str


class DecisionBatch(msgspec.Struct, frozen=True, array_like=True):
    namespace: str
    modelserver: str
    epoch: int
    decisions: list[Decision]
    version: int = CONTRACT_VERSION
