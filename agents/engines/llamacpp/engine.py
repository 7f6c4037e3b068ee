"""The engine over llama.cpp's server: as many requests at once as it has slots, the rest queued here, in order.

An abort closes the request's connection; llama.cpp looks at that between two steps, and once a second while nothing is
to be sent, so its slot may be busy for a moment longer than ours.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from pathlib import Path

from matrixinfer.agents.engines import failures
from matrixinfer.agents.engines.errors import StartFailed
from matrixinfer.agents.engines.llamacpp.exchange import BrokenAnswer, post
from matrixinfer.agents.engines.llamacpp.relay import Relay, engine_body
from matrixinfer.agents.engines.llamacpp.server import LlamaServer
from matrixinfer.agents.engines.llamacpp.settings import LlamaCppConfig
from matrixinfer.agents.engines.port import Emit, EngineInfo, EngineLoad, Job, Piece
from matrixinfer.bus.contracts.frames import Failure

_log = logging.getLogger("matrixinfer.agents.engines.llamacpp")

BYTES_PER_TOKEN = 4
"""For the load only: the engine does not tell a prompt's tokens before its answer ends."""


class _Generation:
    """A job and where it stands. After `emit_final` it emits nothing."""

    __slots__ = ("_emit", "body", "ended", "job", "prompt_tokens", "relay", "task")

    def __init__(self, job: Job, body: bytes, relay: Relay, emit: Emit) -> None:
        self.job = job
        self.body = body
        self.relay = relay
        self.prompt_tokens = len(body) // BYTES_PER_TOKEN
        self.task: asyncio.Task[None] | None = None
        self.ended = False
        self._emit = emit

    def receive(self, status: int, data: bytes) -> None:
        piece = None if self.ended else self.relay.feed(status, data)
        if piece is not None:
            self.ended = piece.final
            self._emit(piece)

    def emit_final(self, piece: Piece) -> None:
        if not self.ended:
            self.ended = True
            self._emit(piece)

    def fail_soon(self, failure: Failure) -> None:
        """End with this failure in the loop's next turn, whatever else comes."""
        if not self.ended:
            self.ended = True
            asyncio.get_running_loop().call_soon(self._emit, failures.final(failure))


class LlamaCppEngine:
    """Implements the engine port."""

    def __init__(self, config: LlamaCppConfig, model_path: Path, served_model: str) -> None:
        self._config = config
        self._model_path = model_path
        self._served_model = served_model
        self._server: LlamaServer | None = None
        self._closed = False
        self._waiting: deque[_Generation] = deque()
        self._running: set[_Generation] = set()

    async def start(self) -> EngineInfo:
        self._check_open()
        config = self._config
        server = await asyncio.to_thread(LlamaServer, config, self._model_path, self._served_model)
        try:
            self._check_open()  # it may have been closed meanwhile
        except StartFailed:
            await asyncio.to_thread(server.close)
            raise
        self._server = server
        return EngineInfo("LlamaCpp", self._served_model, config.slots, config.slots * config.context_tokens)

    def generate(self, job: Job, emit: Emit) -> None:
        body = engine_body(job)
        relay = Relay(job, self._served_model)
        if isinstance(body, Failure):
            _Generation(job, b"", relay, emit).fail_soon(body)
            return
        generation = _Generation(job, body, relay, emit)
        if self._server is None or self._closed:
            generation.fail_soon(failures.engine_closed())
            return
        self._waiting.append(generation)
        self._start_waiting()

    def abort(self, rid: str) -> None:
        for generation in [*self._running, *self._waiting]:
            if generation.job.rid == rid and not generation.ended:
                self._take_out(generation)
                generation.fail_soon(failures.cancelled())
                return

    def load(self) -> EngineLoad:
        capacity_tokens = self._config.slots * self._config.context_tokens
        running_tokens = sum(each.prompt_tokens + each.relay.output_tokens for each in self._running)
        return EngineLoad(
            running_tokens=running_tokens,
            waiting_tokens=sum(each.prompt_tokens for each in self._waiting),
            kv_usage=min(1.0, running_tokens / capacity_tokens),
        )

    async def close(self) -> None:
        self._closed = True
        for generation in [*self._running, *self._waiting]:
            generation.fail_soon(failures.engine_closed())
        self._waiting.clear()
        tasks = [each.task for each in self._running if each.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        server, self._server = self._server, None
        if server is not None:
            await asyncio.to_thread(server.close)

    def _check_open(self) -> None:
        if self._closed:
            raise StartFailed("this engine was closed; make a new one")

    def _take_out(self, generation: _Generation) -> None:
        if generation.task is None:
            self._waiting.remove(generation)
        else:
            generation.task.cancel()

    def _start_waiting(self) -> None:
        while self._waiting and self._server is not None and len(self._running) < self._config.slots:
            generation = self._waiting.popleft()
            self._running.add(generation)
            task = asyncio.create_task(self._run(generation, self._server.socket_path), name="llamacpp-request")
            task.add_done_callback(partial(self._leave, generation))
            generation.task = task

    async def _run(self, generation: _Generation, socket_path: str) -> None:
        path = f"/v1/{generation.job.endpoint.replace('.', '/')}"
        try:
            status = await post(socket_path, path, generation.body, generation.receive)
        except (OSError, BrokenAnswer) as error:
            _log.error("llama.cpp broke off request %s: %s", generation.job.rid, error)
            generation.emit_final(failures.final(failures.engine_failed(f"the engine broke off: {error}", 502)))
        else:
            if not generation.ended:
                generation.emit_final(generation.relay.end(status))

    def _leave(self, generation: _Generation, task: asyncio.Task[None]) -> None:
        """Free the slot, however the task ended: also when it was cancelled before it began."""
        self._running.remove(generation)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("request %s broke", generation.job.rid, exc_info=error)
        generation.emit_final(failures.final(failures.engine_failed("the engine's answer could not be relayed")))
        if not self._closed:
            self._start_waiting()
