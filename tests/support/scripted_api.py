"""An API server that answers what a test wrote down for it: for what the real one does too seldom."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Query = dict[str, str]


class Answer:
    """`lines` is a stream that ends after the last; with `stays_open` it does not."""

    def __init__(
        self,
        body: dict[str, Any] | None = None,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        lines: list[Any] | None = None,
        stays_open: bool = False,
    ) -> None:
        self.status = status
        self.headers = headers or {}
        self.content = json.dumps(body).encode() if body is not None else b""
        if lines is not None:
            texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
            self.content = "".join(f"{text}\n" for text in texts).encode()
        self.stays_open = stays_open


class ScriptedApi:
    """`asked` is what came: method, path and query of each request."""

    def __init__(self, script: Callable[[str, str, Query], Answer], folder: Path) -> None:
        self._script = script
        self.asked: list[tuple[str, str, Query]] = []
        self.kubeconfig = folder / "kubeconfig"
        self.serving: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, target, _ = head.split("\r\n", 1)[0].split(" ")
            path, query = urlsplit(target).path, {k: v[0] for k, v in parse_qs(urlsplit(target).query).items()}
            self.asked.append((method, path, query))
            answer = self._script(method, path, query)
            lines = [f"HTTP/1.1 {answer.status} Scripted", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in answer.headers.items()]
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + answer.content)
            await writer.drain()
            if answer.stays_open:
                await reader.read()
        writer.close()


@contextlib.asynccontextmanager
async def scripted_api(folder: Path, script: Callable[[str, str, Query], Answer]) -> AsyncIterator[ScriptedApi]:
    api = ScriptedApi(script, folder)
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    api.kubeconfig.write_text(json.dumps(content))
    try:
        yield api
    finally:
        server.close()
        running = {task for task in api.serving if task is not None and not task.done()}
        if running:  # their clients are gone, and they notice it a moment later
            await asyncio.wait(running, timeout=1.0)
