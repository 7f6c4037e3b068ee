"""The shell of the simulated engine: one task that runs the batching model on a clock and turns its tokens into pieces.

A step's pieces are emitted together in one loop turn; between two steps the loop runs, also when steps take no time.
"""

from __future__ import annotations

import asyncio
import logging

from matrixinfer.agents.engines import failures
from matrixinfer.agents.engines.errors import StartFailed
from matrixinfer.agents.engines.port import Emit, EngineInfo, EngineLoad, Job, Piece
from matrixinfer.agents.engines.simulated.answers import Answer
from matrixinfer.agents.engines.simulated.batching import BatchingModel, Request, Speed
from matrixinfer.agents.engines.simulated.prefix_cache import PrefixCache
from matrixinfer.agents.engines.simulated.prompts import Prompt, named_by_others, read
from matrixinfer.agents.engines.simulated.settings import SimulatedConfig
from matrixinfer.agents.engines.simulated.told_cache import ToldCache
from matrixinfer.bus.block_hashes import BLOCK_TOKENS
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.contracts.cache import BlocksStored, CacheChange
from matrixinfer.bus.contracts.frames import Failure, Usage

_log = logging.getLogger("matrixinfer.agents.engines.simulated")

SILENT_STEPS_PER_TURN = 32
"""Steps that take no time and emit nothing (whole answers) share a loop turn, up to this many."""


class _Running:
    """A job in the model."""

    __slots__ = ("answer", "emit", "include_usage", "request", "stream")

    def __init__(self, request: Request, answer: Answer, emit: Emit, stream: bool, include_usage: bool) -> None:
        self.request = request
        self.answer = answer
        self.emit = emit
        self.stream = stream
        self.include_usage = include_usage


class SimulatedEngine:
    """Implements the engine port, and with blocks of the platform's size also CacheTeller: it has no tokenizer that
    the gateway could share, so it takes over the names that the envelope brings instead of making its own."""

    def __init__(self, config: SimulatedConfig, served_model: str, clock: Clock) -> None:
        self._config = config
        self._served_model = served_model
        self._clock = clock
        self._model = self._new_model()
        self._told = ToldCache(self._model.cache)
        self._running: dict[str, _Running] = {}
        self._work = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> EngineInfo:
        if self._closed:
            raise StartFailed("this engine was closed; make a new one")
        await self._clock.sleep(self._config.time_to_load_s)
        self._start_runner()
        config, tells_cache = self._config, self._config.block_tokens == BLOCK_TOKENS
        return EngineInfo("Simulated", self._served_model, config.slots, config.kv_capacity_tokens, tells_cache)

    def generate(self, job: Job, emit: Emit) -> None:
        failure = self._begin(job, emit)
        if failure is not None:
            _end(emit, failure)

    def abort(self, rid: str) -> None:
        running = self._running.pop(rid, None)
        if running is not None:
            self._model.abort(running.request, self._clock.monotonic())
            _end(running.emit, failures.cancelled())

    def load(self) -> EngineLoad:
        model = self._model
        return EngineLoad(
            running_tokens=model.running_tokens,
            waiting_tokens=model.waiting_tokens,
            kv_usage=model.cache.busy_tokens / model.cache.capacity_tokens,
        )

    def take_cache_changes(self) -> list[CacheChange]:
        return self._told.take_cache_changes()

    def cached_blocks(self) -> list[BlocksStored]:
        return self._told.cached_blocks()

    async def close(self) -> None:
        self._closed = True
        self._end_all(failures.engine_closed())
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.cancel()
            await asyncio.wait([runner])

    def _new_model(self) -> BatchingModel:
        config = self._config
        speed = Speed(
            config.prefill_tokens_per_s,
            config.decode_step_s,
            config.decode_step_per_request_s,
            config.decode_step_per_context_token_s,
        )
        cache = PrefixCache(config.kv_capacity_tokens, config.block_tokens)
        return BatchingModel(config.slots, config.max_batch_tokens, speed, cache)

    def _begin(self, job: Job, emit: Emit) -> Failure | None:
        if self._runner is None or self._closed:
            return failures.engine_closed()
        prompt = read(job.endpoint, job.body, self._config.block_tokens)
        if isinstance(prompt, Failure):
            return prompt
        if job.block_hashes and self._config.block_tokens == BLOCK_TOKENS:
            prompt = named_by_others(prompt, job.block_hashes)
        request, finish = self._request(job.rid, prompt)
        if not self._model.can_ever_fit(request):
            needed_tokens = request.prompt_tokens + request.output_tokens
            return failures.context_exceeded(needed_tokens, self._config.kv_capacity_tokens)
        answer = Answer(
            job.rid,
            job.endpoint,
            job.model,
            created=int(self._clock.now()),
            digest=prompt.digest,
            seed=self._config.seed,
            finish=finish,
        )
        if job.stream:
            answer.begin_stream()
        self._running[job.rid] = _Running(request, answer, emit, job.stream, prompt.include_usage)
        self._model.submit(request, self._clock.monotonic())
        self._work.set()
        return None

    def _request(self, rid: str, prompt: Prompt) -> tuple[Request, str]:
        """The model's request, and why its answer will end: by the client's limit, or by itself."""
        limit = prompt.output_tokens
        output_tokens = self._config.default_max_tokens if limit is None else limit
        finish = "stop" if limit is None and not prompt.ignore_eos else "length"
        return Request(rid, prompt.prompt_tokens, output_tokens, prompt.blocks), finish

    def _end_all(self, failure: Failure) -> None:
        for running in self._running.values():
            _end(running.emit, failure)
        self._running.clear()
        self._model = self._new_model()
        self._told.replace(self._model.cache)

    def _start_runner(self) -> None:
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="simulated-engine")
        self._runner.add_done_callback(self._on_runner_end)

    def _on_runner_end(self, runner: asyncio.Task[None]) -> None:
        error = None if runner.cancelled() else runner.exception()
        if error is None:
            return
        _log.error("the simulated engine broke; its jobs end, and it begins anew", exc_info=error)
        self._end_all(failures.engine_failed(f"the simulated engine broke: {error}"))
        if not self._closed:
            self._start_runner()

    async def _run(self) -> None:
        clock = self._clock
        silent_steps = 0
        while True:
            next_at = self._model.next_at()
            if next_at is None:
                self._work.clear()
                await self._work.wait()
                continue
            delay_s = next_at - clock.monotonic()
            if delay_s > 0 or silent_steps == 0:
                await clock.sleep(delay_s)
            emitted = self._emit_step(self._model.advance(clock.monotonic()))
            silent_steps = 0 if emitted else (silent_steps + 1) % SILENT_STEPS_PER_TURN

    def _emit_step(self, produced: list[Request]) -> bool:
        """Give each request's token on; True when a piece was emitted."""
        emitted = False
        for request in produced:
            running = self._running.get(request.key)
            if running is None or running.request is not request:  # aborted by another's emit in this very step
                continue
            count = request.produced_tokens
            if count >= request.output_tokens:
                del self._running[request.key]
                running.emit(_last_piece(running))
            elif not running.stream:
                continue
            elif count > 1:
                running.emit(Piece(running.answer.chunk(count - 1), tokens=1))
            else:
                running.emit(Piece(running.answer.role_chunk() + running.answer.chunk(0), tokens=1))
            emitted = True
        return emitted


def _end(emit: Emit, failure: Failure) -> None:
    """Emit soon: never inside the call that found the failure."""
    asyncio.get_running_loop().call_soon(emit, failures.final(failure))


def _last_piece(running: _Running) -> Piece:
    request, answer = running.request, running.answer
    usage = Usage(request.prompt_tokens, request.cached_tokens, request.produced_tokens)
    if not running.stream:
        return Piece(answer.whole(usage), tokens=usage.output_tokens, final=True, usage=usage)
    first = answer.role_chunk() if request.produced_tokens == 1 else b""
    data = first + answer.chunk(request.produced_tokens - 1) + answer.end_of_stream(usage, running.include_usage)
    return Piece(data, tokens=1, final=True, usage=usage)
