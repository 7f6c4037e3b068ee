"""What every row sends: one model, one engine without latency, prompts of a known size."""

from __future__ import annotations

import json
from typing import Any

from bench.client import post

MODEL = "bench"
ENGINE_CONFIG: dict[str, Any] = {
    "slots": 512,
    "prefill_tokens_per_s": 0,
    "decode_step_s": 0,
    "decode_step_per_request_s": 0,
    "kv_capacity_tokens": 100_000_000,
}


def chat(prompt_bytes: int, *, stream: bool, tokens: int) -> bytes:
    """One HTTP request with a prompt of `prompt_bytes`, for an answer of `tokens` tokens."""
    words = ("The quick brown fox jumps over the lazy dog. " * (prompt_bytes // 45 + 1))[:prompt_bytes]
    body = {"model": MODEL, "messages": [{"role": "user", "content": words}], "max_tokens": tokens, "stream": stream}
    return post("/v1/chat/completions", json.dumps(body).encode())
