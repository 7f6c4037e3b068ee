"""A Model that names a tokenizer, on the whole platform: counted exactly, cached by blocks of tokens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from matrixinfer.bus.block_hashes import BLOCK_TOKENS
from support.eventually import eventually
from support.house import House
from support.tokenizer import write_tokenizer

MANIFEST = """
apiVersion: matrixinfer.ai/v1alpha1
kind: Model
metadata: {{name: sim}}
spec:
  backends:
    - name: main
      type: Simulated
      minReplicas: 2
      config: {{slots: 2, decode_step_s: 0.001}}
      tokenizer: {{path: {path}}}
"""
HEARD_S = 1.0
"""Dispatch hears of an end beside the client, perhaps after it: until then the pod with the cache seems half full."""
LONG = "the quick brown fox jumps over the lazy dog. " * 60


@pytest.mark.timeout(120)
async def test_usage_is_the_tokenizers_and_the_cache_is_found_by_blocks_of_tokens(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path / "tokenizer")
    (tmp_path / "sim.yaml").write_text(MANIFEST.format(path=tmp_path / "tokenizer"))
    async with (
        House(tmp_path / "data", "-f", str(tmp_path / "sim.yaml")) as house,
        httpx.AsyncClient(base_url=house.url, timeout=30, trust_env=False) as client,
    ):

        async def usage(messages: list[dict[str, str]]) -> dict[str, Any]:
            body = {"model": "sim", "max_tokens": 2, "messages": messages}
            answer = await client.post("/v1/chat/completions", json=body, headers={"x-priority": "-1"})
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()["usage"]
            return found

        async def is_loaded() -> bool:
            page = (await client.get("/metrics")).text
            return any(
                line.startswith("matrixinfer_gateway_tokenizer_loaded{") and line.endswith(" 1.0")
                for line in page.splitlines()
            )

        await eventually(is_loaded, timeout_s=20)
        first = [{"role": "user", "content": LONG}]
        more = [*first, {"role": "assistant", "content": LONG}, {"role": "user", "content": "and the fox?"}]
        counts = []
        for messages in (first, more):
            text = "<s>" + "".join(f"<|{m['role']}|>{m['content']}<|end|>\n" for m in messages) + "<|assistant|>"
            counts.append(len(tokenizer.encode(text, add_special_tokens=False).ids))
        told = [await usage(first)]
        await asyncio.sleep(HEARD_S)
        told.append(await usage(more))
        assert [each["prompt_tokens"] for each in told] == counts
        shared = counts[0] // BLOCK_TOKENS * BLOCK_TOKENS
        assert shared >= BLOCK_TOKENS
        assert told[1]["prompt_tokens_details"]["cached_tokens"] == shared
