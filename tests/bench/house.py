"""The whole platform from the command line: how long until the first token, and what it costs while nothing happens."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.cpu import Meter
from support.house import House

PARTS = {
    "gateway": ("matrixinfer", "gateway"),
    "handlers": ("matrixinfer", "handlers"),
    "nats-server": ("nats-server",),
}


@dataclass(frozen=True)
class Idle:
    """`first_token_s` from the command line to the first token; RSS in MiB and CPU in percent of a core, by part."""

    engine: str
    first_token_s: float
    rss_mib: dict[str, float]
    cpu_percent: dict[str, float]


async def measure_house(data_dir: Path, engine: str, *arguments: str, idle_s: float) -> Idle:
    """Start `matrixinfer up`, ask at once, then leave it alone for `idle_s`."""
    started = time.perf_counter()
    async with House(data_dir, *arguments, start_s=300) as house:
        [model] = await house.models()
        await _first_token(house.url, model)
        first_token_s = time.perf_counter() - started
        await asyncio.sleep(3)  # let the start settle
        meter = Meter({name: house.pids(*words)[0] for name, words in PARTS.items()})
        meter.start()
        await asyncio.sleep(idle_s)
        used = meter.used_s()
        return Idle(engine, first_token_s, meter.rss_mib(), {name: 100 * s / idle_s for name, s in used.items()})


async def _first_token(url: str, model: str) -> None:
    body = {"model": model, "stream": True, "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}
    async with (
        httpx.AsyncClient(timeout=60) as client,
        client.stream("POST", f"{url}/v1/chat/completions", json=body) as answer,
    ):
        async for line in answer.aiter_lines():
            if line.startswith("data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                return
    raise RuntimeError("the stream ended without a token")
