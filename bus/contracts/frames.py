"""Frames: what comes back. One frame holds the chunks of many requests for one gateway.

A chunk is numbered from 0 within (rid, attempt, hop, phase); a gateway that misses a number asks for a replay.
"""

from __future__ import annotations

import enum

import msgspec

from matrixinfer.bus.contracts.codec import CONTRACT_VERSION


class ChunkKind(enum.IntEnum):
    DATA = 0
    """Bytes to relay; more follow."""
    END = 1
    """The last bytes (maybe none), with the usage."""
    FAILED = 2
    """The end by an error: `data` is an encoded Failure."""


class Usage(msgspec.Struct, frozen=True, array_like=True):
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """An error for the client, in OpenAI's terms. `retry_after_s` of 0 means: no advice."""

    status: int
    message: str
    type: str = "server_error"
    code: str = ""
    param: str = ""
    retry_after_s: float = 0.0


class Chunk(msgspec.Struct, frozen=True, array_like=True, gc=False):
    rid: str
    attempt: int
    hop: int
    phase: str
    number: int
    kind: ChunkKind
    data: bytes
    usage: Usage | None = None


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """`number` counts the frames of this pod's boot to this gateway, from 1. An empty `pod` means: from dispatch."""

    namespace: str
    pod: str
    boot: str
    number: int
    chunks: list[Chunk]
    version: int = CONTRACT_VERSION
