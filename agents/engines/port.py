"""What an engine promises to the agent that drives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from matrixinfer.bus.contracts.cache import BlocksStored, CacheChange
from matrixinfer.bus.contracts.envelope import Endpoint
from matrixinfer.bus.contracts.frames import Failure, Usage


@dataclass(frozen=True)
class EngineInfo:
    """What a started engine is: `slots` requests run at once, `kv_capacity_tokens` fit its KV cache (0: unknown).

    `tells_cache`: it is a CacheTeller, and as it is configured it keeps that port's promises. `bootstrap` is the
    `host:port` where decode engines meet this one, if it computes prompts for them and they meet by themselves.
    `names_tokens`: it makes the names of its blocks out of their token ids, and does not take over those that the
    envelope brings.
    """

    engine: str
    model: str
    slots: int
    kv_capacity_tokens: int = 0
    tells_cache: bool = False
    bootstrap: str = ""
    names_tokens: bool = False


@dataclass(frozen=True)
class EngineLoad:
    """What the engine does now. `kv_usage` is in [0, 1]."""

    running_tokens: int = 0
    waiting_tokens: int = 0
    kv_usage: float = 0.0
    adapters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One generation. `body` is the client's OpenAI JSON, byte for byte, or that of a half of the request, for engines
    that are told to compute prompts for others or to have them computed; `model` is what the answer shall name.

    `rid` names the answer (`chatcmpl-<rid>` and so on) and is the key for `abort`, unique among what runs.
    `block_hashes` are the names of the prompt's blocks as the gateway made them (`bus.block_hashes`; empty: none), and
    `prompt_tokens` is its length where the gateway has the model's tokenizer (0: not counted).
    """

    rid: str
    endpoint: Endpoint
    model: str
    stream: bool
    body: bytes
    adapter: str = ""
    block_hashes: bytes = b""
    prompt_tokens: int = 0


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


@runtime_checkable
class CacheTeller(Protocol):
    """The part of an engine that tells what its KV cache holds, for those that can: see `EngineInfo.tells_cache`.

    Blocks are named as the envelope names them (`bus.block_hashes`), so that the gateway's hashes find them. Nothing is
    recorded before the first call of `take_cache_changes`; who called it goes on calling it.
    """

    def take_cache_changes(self) -> list[CacheChange]:
        """What changed since the last call: who applies all answers in order has what the cache holds now. The first
        answer is all that it holds by then. Cheap, never blocks; to be called some ten times a second."""
        ...

    def cached_blocks(self) -> list[BlocksStored]:
        """All that it holds now, chains from their beginning on; not more than one for each tier and adapter. What was
        not taken yet is in it, and comes again with the next changes, which then change nothing."""
        ...


@runtime_checkable
class AdapterLoader(Protocol):
    """The part of an engine that takes LoRA adapters while it serves. `load()` names those that it has; a job whose
    `adapter` it lacks ends with a Failure."""

    async def load_adapter(self, name: str, path: str) -> None:
        """Have it, from the file or folder `path`; does nothing when it has one of that name. Raises EngineError with
        what to do about it, and has it not."""
        ...

    async def unload_adapter(self, name: str) -> None:
        """Let it go: jobs that run with it are finished, new ones fail. Does nothing for one that it has not."""
        ...
