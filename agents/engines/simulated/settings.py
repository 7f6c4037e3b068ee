"""What an operator can choose of the simulated engine. All latencies 0 makes it as fast as this process can be."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from matrixinfer.agents.engines.config import EngineConfig


class SimulatedConfig(EngineConfig):
    """The defaults are about one mid-size GPU with an 8B model."""

    seed: int = 0
    """Another seed makes other words; the same seed, body and load make the same answer."""

    slots: int = Field(default=64, ge=1, le=4096)
    """How many requests are in the batch at once; more wait, in order."""

    max_batch_tokens: int = Field(default=2048, ge=1)
    """Tokens that one step computes at most: one for each decoding request, the rest is prefill, in chunks."""

    prefill_tokens_per_s: float = Field(default=8000.0, ge=0)
    """Speed of prefill; 0 means: takes no time."""

    decode_step_s: float = Field(default=0.012, ge=0)
    """What a decode step takes with an empty batch, in seconds."""

    decode_step_per_request_s: float = Field(default=0.0001, ge=0)
    """What each request in the batch adds to a decode step, in seconds."""

    decode_step_per_context_token_s: float = Field(default=0.00000001, ge=0)
    """What each token of context in the batch adds to a decode step, in seconds."""

    kv_capacity_tokens: int = Field(default=262_144, ge=1)
    """Tokens that fit the KV cache: of running requests, and of prompts kept for their prefix."""

    block_tokens: int = Field(default=256, ge=1)
    """Granularity of the prefix cache: only whole blocks from the prompt's beginning are found again."""

    default_max_tokens: int = Field(default=16, ge=1)
    """Length of an answer when the request does not limit it; such an answer ends with reason `stop`."""

    time_to_load_s: float = Field(default=0.0, ge=0)
    """How long the start takes, in seconds."""

    adapter_load_s: float = Field(default=0.0, ge=0)
    """How long loading a LoRA adapter takes, in seconds."""

    max_adapters: int = Field(default=64, ge=0)
    """LoRA adapters that fit beside each other."""

    disaggregation: Literal["none", "prefill", "decode"] = "none"
    """`prefill`: compute prompts for other engines that ask for it, and hand them over; `decode`: fetch prompts that
    others computed. A request that says nothing of this is an ordinary one everywhere; with `none` all are."""

    host: str = "127.0.0.1"
    """Where an engine that hands prompts over listens, on a free port, and where it says that others find it."""

    kv_transfer_tokens_per_s: float = Field(default=0.0, ge=0)
    """Speed at which a computed prompt comes from another engine, or from `shared_cache`; 0 means: takes no time."""

    kv_hold_s: float = Field(default=60.0, gt=0)
    """How long a computed prompt keeps its room when nobody fetches it, in seconds."""

    kv_wait_s: float = Field(default=30.0, gt=0)
    """How long who fetches a prompt waits for it to be begun, in seconds: both halves are sent at the same time."""

    shared_cache: str = ""
    """Folder in which several engines keep the names of prompt blocks, as if they stored them in one LMCache server;
    empty: none. Engines of one folder must have the same `block_tokens`."""

    @model_validator(mode="after")
    def _a_batch_holds_every_slot(self) -> Self:
        if self.slots > self.max_batch_tokens:
            raise ValueError(
                f"expected max_batch_tokens to be at least slots ({self.slots}), since each may decode in every step, "
                f"got {self.max_batch_tokens}"
            )
        return self
