"""HTTP clients of a gateway, and how their answers ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Answer:
    """How one request ended: `text` so far, and whether it ended well (a stream by [DONE]), by an error in JSON (a
    stream's in an event), or by a broken connection."""

    stream: bool
    status: int
    text: str
    done: bool = False
    error: str = ""
    broken: bool = False


async def ask(client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> Answer:
    """One chat completion to its end, whatever that is; streamed if `body` says so."""
    return await (_stream if body.get("stream") else _whole)(client, f"{url}/v1/chat/completions", body)


async def _stream(client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> Answer:
    text, done, error, status = "", False, "", 0
    try:
        async with client.stream("POST", url, json=body) as response:
            status = response.status_code
            async for line in response.aiter_lines():
                if line == "data: [DONE]":
                    done = True
                elif line.startswith("data: "):
                    event = httpx.Response(200, content=line[6:]).json()
                    if "error" in event:
                        error = event["error"]["message"]
                    elif event.get("choices"):
                        text += event["choices"][0]["delta"].get("content") or ""
    except httpx.HTTPError:
        return Answer(True, status, text, broken=True)
    return Answer(True, status, text, done, error)


async def _whole(client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> Answer:
    try:
        response = await client.post(url, json=body)
    except httpx.HTTPError:
        return Answer(False, 0, "", broken=True)
    answer = response.json()
    if response.status_code != 200:
        return Answer(False, response.status_code, "", error=answer["error"]["message"])
    return Answer(False, 200, answer["choices"][0]["message"]["content"], done=True)


def chat(prompt: str, *, model: str, tokens: int, stream: bool) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    return {"model": model, "stream": stream, "max_tokens": tokens, "messages": messages}


class SteadyLoad:
    """The same question again and again, every second time streamed; `answers` are all, once the load has ended."""

    def __init__(self, url: str, *, model: str, tokens: int, every_s: float) -> None:
        self.answers: list[Answer] = []
        self.sent = 0
        self._url = url
        self._bodies = [chat("the same for all", model=model, tokens=tokens, stream=stream) for stream in (True, False)]
        self._tokens = tokens
        self._every_s = every_s

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask as long as the block lasts, and wait for the answers at its end."""
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(timeout=30, limits=limits) as client, asyncio.TaskGroup() as group:
            asking = group.create_task(self._ask(client, group))
            yield
            asking.cancel()

    def unanswered(self) -> list[Answer]:
        """The answers that are not the one whole answer, with each token in its place and once."""
        whole = {each.text for each in self.answers if each.done and len(each.text.split()) == self._tokens}
        assert len(whole) <= 1, "the same question has one answer, streamed or not"
        return [each for each in self.answers if not (each.done and not each.error and each.text in whole)]

    async def _ask(self, client: httpx.AsyncClient, group: asyncio.TaskGroup) -> None:
        while True:
            group.create_task(self._keep(client, self._bodies[self.sent % 2]))
            self.sent += 1
            await asyncio.sleep(self._every_s)

    async def _keep(self, client: httpx.AsyncClient, body: dict[str, Any]) -> None:
        self.answers.append(await ask(client, self._url, body))
