"""The baseline: the same simulated engine behind the same HTTP server, with nothing in between.

`python -m bench.direct PORT` listens on the port until it is told to stop.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec
import uvicorn

from bench.load_shape import ENGINE_CONFIG, MODEL
from matrixinfer.agents.engines.port import Engine, Job, Piece
from matrixinfer.agents.engines.registry import create
from matrixinfer.bus.ids import new_request_id


class Question(msgspec.Struct):
    stream: bool = False


class Direct:
    """A raw ASGI application around one engine."""

    def __init__(self) -> None:
        self._engine: Engine = create("Simulated", "", MODEL, ENGINE_CONFIG)
        self._decoder = msgspec.json.Decoder(Question)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await self._engine.start()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self._engine.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        await self._answer(body, send)

    async def _answer(self, body: bytes, send: Any) -> None:
        stream = self._decoder.decode(body).stream
        pieces: asyncio.Queue[Piece] = asyncio.Queue()
        job = Job(rid=new_request_id(), endpoint="chat.completions", model=MODEL, stream=stream, body=body)
        self._engine.generate(job, pieces.put_nowait)
        started = final = False
        while not final:
            waiting = [await pieces.get()]
            while not pieces.empty():
                waiting.append(pieces.get_nowait())
            final = waiting[-1].final
            data = b"".join(piece.data for piece in waiting)
            if not started:
                started = True
                kind = b"text/event-stream" if stream else b"application/json"
                headers = [(b"content-type", kind)]
                if not stream:
                    headers.append((b"content-length", str(len(data)).encode()))
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": data, "more_body": not final})


if __name__ == "__main__":
    uvicorn.run(Direct(), host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", log_level="warning")
