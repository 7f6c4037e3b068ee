"""What an engine promises to the agent that drives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from matrixinfer.bus.contracts.envelope import Endpoint
from matrixinfer.bus.contracts.frames import Failure, Usage


@dataclass(frozen=True)
class EngineInfo:
    """What a started engine is: `slots` requests run at once, `kv_capacity_tokens` fit its KV cache (0: unknown)."""

    engine: str
    model: str
    slots: int
    kv_capacity_tokens: int = 0


@dataclass(frozen=True)
class EngineLoad:
    """What the engine does now. `kv_usage` is in [0, 1]."""

    running_tokens: int = 0
    waiting_tokens: int = 0
    kv_usage: float = 0.0
    adapters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One generation. `body` is the client's OpenAI JSON, byte for byte; `model` is what the answer shall name.

    `rid` names the answer (`chatcmpl-<rid>` and so on) and is the key for `abort`, unique among what runs.
    """

    rid: str
    endpoint: Endpoint
    model: str
    stream: bool
    body: bytes
    adapter: str = ""


class Piece:
    """What an engine emits: bytes ready for the client (whole server-sent events, or one whole JSON answer).

    `tokens` counts the output tokens in it. The last piece has `final`, and either a usage or a failure.
    """

    __slots__ = ("data", "failure", "final", "tokens", "usage")

    def __init__(
        self,
        data: bytes,
        *,
        tokens: int = 0,
        final: bool = False,
        usage: Usage | None = None,
        failure: Failure | None = None,
    ) -> None:
        self.data = data
        self.tokens = tokens
        self.final = final
        self.usage = usage
        self.failure = failure


Emit = Callable[[Piece], None]


class Engine(Protocol):
    """Lifecycle: `start` once, then `generate` and `abort` at will, then `close`. All on one event loop.

    Streamed answers are OpenAI's chunks as server-sent events (`data: {...}\\n\\n`), a usage chunk when the body asks
    for it, and end with `data: [DONE]\\n\\n` inside the last piece. A whole answer is one final piece with the JSON.
    """

    async def start(self) -> EngineInfo:
        """Load the model. After it returned, `generate` is accepted. Raises EngineError with what to do about it."""
        ...

    def generate(self, job: Job, emit: Emit) -> None:
        """Begin; never blocks and never raises for a bad body: that is a final piece with a Failure (status 4xx).

        `emit` is called on the loop, in order, never inside this call, not later than the decode step that made the
        piece, and exactly once with `final`, whatever happens: also after `abort` and `close`. More jobs than `slots`
        may be given; the engine queues them in order.
        """
        ...

    def abort(self, rid: str) -> None:
        """End this job soon and free its slot; its final piece has a Failure with code `cancelled`, status 499.
        Does nothing for an unknown or ended job."""
        ...

    def load(self) -> EngineLoad:
        """What it does now; cheap, never blocks."""
        ...

    async def close(self) -> None:
        """End every job and free everything. Also after a failed start; safe to call twice."""
        ...
