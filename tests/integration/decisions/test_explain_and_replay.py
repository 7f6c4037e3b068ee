"""`explain` and `replay` on a running platform: requests just made, read back as their users would."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from matrixinfer.bus.ids import new_request_id
from support.clients import chat
from support.house import House

pytestmark = pytest.mark.timeout(120)


class Ended:
    def __init__(self, code: int, out: str, error: str) -> None:
        self.code, self.out, self.error = code, out, error


async def cli(house: House, *arguments: str) -> Ended:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "matrixinfer", *arguments, "--data", str(house.data_dir)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), error.decode())


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House(tmp_path / "data", "--engine", "simulated", "--replicas", "2") as house:
        yield house


async def ask(house: House, count: int, stream: bool) -> list[str]:
    """The ids of `count` answers with a long prompt in common."""
    question = chat("word " * 600, model="simulated", tokens=5, stream=stream)
    async with httpx.AsyncClient(timeout=30) as client:
        answers = await asyncio.gather(
            *[client.post(f"{house.url}/v1/chat/completions", json=question) for _ in range(count)]
        )
    return [answer.headers["x-request-id"] for answer in answers]


async def test_requests_are_explained_and_decided_again(house: House, tmp_path: Path) -> None:
    await ask(house, 1, stream=True)
    rids = await ask(house, 20, stream=True)

    told = await cli(house, "explain", f"chatcmpl-{rids[0]}")
    assert told.code == 0, told.error
    assert f"request {rids[0]} of tenant default" in told.out
    assert "→" in told.out
    assert "predicted_ttft" in told.out
    assert "Predicted: " in told.out
    assert "since it was stored; then 5 tokens" in told.out

    found = await cli(house, "explain", rids[-1], "-o", "json")
    (step,) = json.loads(found.out)["steps"]
    assert step["finished"]["usage"]["cached_tokens"] == step["decision"]["cached_tokens"] > 0
    assert len(step["decision"]["candidates"]) == 2

    profile = tmp_path / "profile.yaml"
    profile.write_text("{}")
    found = await cli(house, "replay", "--profile", str(profile), "-o", "json")
    (same,) = json.loads(found.out)["pools"].values()
    assert same["decisions"] == same["complete"] >= 21
    assert (same["moved"], same["before"]) == (0, same["after"])

    profile.write_text("{name: few, scorers: [{name: least_requests}]}")
    other = await cli(house, "replay", "--profile", str(profile), "--since", "10m")
    assert other.code == 0, other.error
    assert "decided again with the profile 'few'" in other.out

    profile.write_text("{scorers: [{name: nobody}]}")
    wrong = await cli(house, "replay", "--profile", str(profile))
    assert wrong.code == 1
    assert "profile.scorers[0].name: 'nobody' is not known" in wrong.error


async def test_what_cannot_be_explained_is_said_in_one_line(house: House, tmp_path: Path) -> None:
    for rid, said in ((new_request_id(), "there is no record of"), ("01900000-0000-7000-8000-000000000000", "h old")):
        ended = await cli(house, "explain", rid)
        assert ended.code == 1
        assert said in ended.error
    nowhere = House(tmp_path / "nowhere")
    ended = await cli(nowhere, "explain", new_request_id())
    assert "no platform runs here" in ended.error
