"""The envelope: one shape for a request in REQUESTS and for a hop of it in WORK."""

from __future__ import annotations

from typing import Literal

import msgspec

from matrixinfer.bus.contracts.codec import CONTRACT_VERSION
from matrixinfer.bus.contracts.disaggregation import Counterpart

Phase = Literal["whole", "prefill", "decode"]
Endpoint = Literal["chat.completions", "completions"]


class Envelope(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """A request as it travels. The gateway writes it; dispatch fills `epoch`, `hop`, `phase` and `boot` for WORK.

    `remaining_s` is the time left before the deadline when this copy was published (clocks of two machines differ,
    so a deadline never travels as a time of day). Token counts of 0 mean "not counted". `body` is the client's JSON,
    byte for byte. `block_hashes` holds 8 bytes for each block of the prompt, chained, or nothing (`bus.block_hashes`).
    `tokenized`: the gateway has the model's tokenizer, so `prompt_tokens` is exact and the blocks are of tokens; else
    it is about right, and they are of bytes, as no engine names its own.

    A large body is stored in BODIES instead: then `body` is empty, `body_ref` is the subject under which it is stored
    (`Subjects.body`) and `body_bytes` its size. A half of a request has a `counterpart`.
    """

    version: int = CONTRACT_VERSION
    rid: str
    attempt: int = 1
    epoch: int = 0
    hop: int = 0
    phase: Phase = "whole"
    boot: str = ""
    tenant: str
    namespace: str
    modelserver: str
    shard: int = 0
    gateway: str
    remaining_s: float
    endpoint: Endpoint
    model: str
    adapter: str = ""
    stream: bool = False
    priority: int = 0
    session: str = ""
    traceparent: str = ""
    prompt_tokens: int = 0
    max_tokens: int = 0
    block_hashes: bytes = b""
    body: bytes
    body_ref: str = ""
    body_bytes: int = 0
    counterpart: Counterpart | None = None
    tokenized: bool = False

    @property
    def size_bytes(self) -> int:
        """Of the body, wherever it is."""
        return self.body_bytes or len(self.body)
