"""What an operator can choose of llama.cpp."""

from __future__ import annotations

from pydantic import Field

from matrixinfer.agents.engines.config import EngineConfig


class LlamaCppConfig(EngineConfig):
    """The defaults fit a small model on a small machine."""

    slots: int = Field(default=4, ge=1, le=256)
    """How many requests run at once; more wait, in order."""

    context_tokens: int = Field(default=2048, ge=64)
    """Context of each slot, prompt and answer together. The KV cache holds `slots` times as much."""

    threads: int | None = Field(default=None, ge=1)
    """Threads that compute; `None` is one for each core that this process may use."""

    batch_tokens: int = Field(default=256, ge=32)
    """Prompt tokens computed in one step. While a step runs nobody gets a token and nothing is aborted, so on a CPU it
    should stay small."""

    prompt_cache_mib: int = Field(default=256, ge=0)
    """Main memory for prompts that lost their slot, so that they need no second prefill; 0 keeps none."""

    chat_template: str | None = Field(default=None, min_length=1)
    """A Jinja template, or the name of one that llama.cpp has (`chatml`); `None` is the model's own."""

    seed: int | None = Field(default=None, ge=0, lt=2**32 - 1)
    """For requests that bring none; `None` is another one each time."""

    log_verbosity: int = Field(default=1, ge=0, le=5)
    """What llama.cpp writes to standard error: 0 nothing, 1 errors, 2 warnings, 3 information, above it debugging."""
