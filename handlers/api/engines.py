"""The engines that a backend can have."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal


class BackendType(StrEnum):
    """Which engine serves; the agent's table of engines has the same names."""

    SGLANG = "SGLang"
    VLLM = "vLLM"
    LLAMA_CPP = "LlamaCpp"
    SIMULATED = "Simulated"
    OPENAI = "OpenAI"


SERVERS = frozenset({BackendType.SGLANG, BackendType.VLLM})
"""Run in a container of their own, beside the agent; the others run in the agent, or far away."""

NEEDS_WEIGHTS = SERVERS | {BackendType.LLAMA_CPP}
"""Cannot start without a `modelURI`."""

TAKES_ADAPTERS = SERVERS | {BackendType.SIMULATED}
"""Load and unload LoRA adapters while they serve."""

SPLITS = SERVERS | {BackendType.SIMULATED}
"""Can compute prompts and answers in different Pods."""

ConnectorType = Literal["sglang", "nixl", "mooncake", "lmcache", "http"]
"""How the KV cache of a prompt gets from where it was computed to where the answer is."""
