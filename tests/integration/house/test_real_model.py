"""`matrixinfer up` with nothing said: a real small model on the CPU answers a real question."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from support.house import House

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


async def test_the_default_model_knows_the_capital_of_france(tmp_path: Path) -> None:
    async with (
        House(tmp_path / "data", start_s=200) as house,
        openai.AsyncOpenAI(base_url=f"{house.url}/v1", api_key="none") as client,
    ):
        stream = await client.chat.completions.create(
            model="smollm2",
            messages=[{"role": "user", "content": "What is the capital of France?"}],
            temperature=0,
            max_tokens=24,
            stream=True,
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]

    assert "Paris" in "".join(pieces)
    assert len(pieces) > 3
