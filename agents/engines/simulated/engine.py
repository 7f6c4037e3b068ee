"""The shell of the simulated engine: one task that runs the batching model on a clock and turns its tokens into pieces.

A step's pieces are emitted together in one loop turn; between two steps the loop runs, also when steps take no time.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from matrixinfer.agents.engines import failures
from matrixinfer.agents.engines.errors import AdapterRefused, StartFailed
from matrixinfer.agents.engines.port import Emit, EngineInfo, EngineLoad, Job, Piece
from matrixinfer.agents.engines.simulated.answers import Answer
from matrixinfer.agents.engines.simulated.batching import BatchingModel, Request, Speed
from matrixinfer.agents.engines.simulated.kv_fields import Fetch, HandOver
from matrixinfer.agents.engines.simulated.kv_fields import read as read_kv_fields
from matrixinfer.agents.engines.simulated.kv_fields import where as where_it_is
from matrixinfer.agents.engines.simulated.kv_outlet import KvOutlet, LostPrefill, fetch
from matrixinfer.agents.engines.simulated.prefix_cache import PrefixCache
from matrixinfer.agents.engines.simulated.prompts import Prompt, named_by_others, read
from matrixinfer.agents.engines.simulated.settings import SimulatedConfig
from matrixinfer.agents.engines.simulated.stored_blocks import StoredBlocks
from matrixinfer.agents.engines.simulated.told_cache import ToldCache
from matrixinfer.bus.background import end, spawn
from matrixinfer.bus.block_hashes import BLOCK_TOKENS
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.contracts.cache import BlocksStored, CacheChange
from matrixinfer.bus.contracts.frames import Failure, Usage

_log = logging.getLogger("matrixinfer.agents.engines.simulated")

SILENT_STEPS_PER_TURN = 32
"""Steps that take no time and emit nothing (whole answers) share a loop turn, up to this many."""


class _Running:
    """A job in the model, or whose prompt comes from elsewhere first (`coming`)."""

    __slots__ = ("answer", "coming", "emit", "hand_over", "include_usage", "request", "stored_tokens", "stream")

    def __init__(self, request: Request, answer: Answer, emit: Emit, stream: bool, include_usage: bool) -> None:
        self.request = request
        self.answer = answer
        self.emit = emit
        self.stream = stream
        self.include_usage = include_usage
        self.coming: asyncio.Task[None] | None = None
        self.hand_over: HandOver | None = None
        self.stored_tokens = 0


class SimulatedEngine:
    """Implements the engine port, AdapterLoader, and with blocks of the platform's size also CacheTeller: it has no
    tokenizer that the gateway could share, so it takes over the names that the envelope brings instead of making its
    own."""

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
        self._adapters: set[str] = set()
        self._stored = StoredBlocks(Path(config.shared_cache)) if config.shared_cache else None
        self._outlet = KvOutlet(
            clock,
            config.kv_transfer_tokens_per_s,
            hold_s=config.kv_hold_s,
            wait_s=config.kv_wait_s,
            let_go=self._let_go,
        )

    async def start(self) -> EngineInfo:
        if self._closed:
            raise StartFailed("this engine was closed; make a new one")
        config, tells_cache, bootstrap = self._config, self._config.block_tokens == BLOCK_TOKENS, ""
        await self._clock.sleep(config.time_to_load_s)
        if config.disaggregation == "prefill":
            try:
                await self._outlet.open(config.host)
            except OSError as error:
                raise StartFailed(f"cannot listen on host {config.host!r} for decode engines: {error}") from error
            bootstrap = "{}:{}".format(*self._outlet.address)
        self._start_runner()
        name, slots, capacity_tokens = self._served_model, config.slots, config.kv_capacity_tokens
        return EngineInfo("Simulated", name, slots, capacity_tokens, tells_cache, bootstrap)

    def generate(self, job: Job, emit: Emit) -> None:
        failure = self._begin(job, emit)
        if failure is not None:
            _end(emit, failure)

    def abort(self, rid: str) -> None:
        running = self._running.pop(rid, None)
        if running is not None:
            if running.coming is not None:
                running.coming.cancel()
            else:
                self._model.abort(running.request, self._clock.monotonic())
            if running.hand_over is not None:
                self._outlet.withdraw(running.hand_over.name)
            _end(running.emit, failures.cancelled())

    def load(self) -> EngineLoad:
        model = self._model
        return EngineLoad(
            running_tokens=model.running_tokens,
            waiting_tokens=model.waiting_tokens,
            kv_usage=model.cache.busy_tokens / model.cache.capacity_tokens,
            adapters=tuple(sorted(self._adapters)),
        )

    async def load_adapter(self, name: str, path: str) -> None:
        """There are no weights to look at: what is in `path` does not matter."""
        if name in self._adapters:
            return
        if len(self._adapters) >= self._config.max_adapters:
            raise AdapterRefused(
                f"adapter {name!r} does not fit beside {len(self._adapters)} others: raise max_adapters or unload some"
            )
        await self._clock.sleep(self._config.adapter_load_s)
        self._adapters.add(name)

    async def unload_adapter(self, name: str) -> None:
        self._adapters.discard(name)

    def take_cache_changes(self) -> list[CacheChange]:
        return self._told.take_cache_changes()

    def cached_blocks(self) -> list[BlocksStored]:
        return self._told.cached_blocks()

    async def close(self) -> None:
        self._closed = True
        coming = [running.coming for running in self._running.values() if running.coming is not None]
        self._end_all(failures.engine_closed())
        await end(coming)
        await self._outlet.close()
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

    def _read(self, job: Job) -> Prompt | Failure:
        if self._runner is None or self._closed:
            return failures.engine_closed()
        if job.adapter and job.adapter not in self._adapters:
            return failures.adapter_missing(job.adapter)
        return read(job.endpoint, job.body, self._config.block_tokens)

    def _begin(self, job: Job, emit: Emit) -> Failure | None:
        prompt = self._read(job)
        if isinstance(prompt, Failure):
            return prompt
        if (job.block_hashes or job.prompt_tokens) and self._config.block_tokens == BLOCK_TOKENS:
            prompt = named_by_others(prompt, job.block_hashes, job.prompt_tokens)
        elsewhere = read_kv_fields(job.body, self._config.disaggregation, job.rid)
        if isinstance(elsewhere, Failure):
            return elsewhere
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
        running = _Running(request, answer, emit, job.stream, prompt.include_usage)
        self._running[job.rid] = running
        if isinstance(elsewhere, Fetch):
            running.coming = spawn(self._fetch(running, elsewhere), "simulated-kv-fetch")
            return None
        if elsewhere is not None:
            running.hand_over, request.lingers = elsewhere, True
            self._outlet.promise(elsewhere.name)
        self._find_stored(running)
        return None

    def _submit(self, running: _Running) -> None:
        running.coming = None
        self._model.submit(running.request, self._clock.monotonic())
        self._work.set()

    # -- prompts that were computed elsewhere, or are for others
    def _find_stored(self, running: _Running) -> None:
        """Load what other engines stored of the prompt, if that is more than what is here."""
        request, block_tokens = running.request, self._config.block_tokens
        limit = (request.prompt_tokens - 1) // block_tokens
        stored = self._stored.hit(request.blocks[:limit]) if self._stored is not None else 0
        missing = stored - self._model.cache.hit(request.blocks[:stored])
        if missing:
            request.received_tokens = running.stored_tokens = stored * block_tokens
        if not missing or not self._config.kv_transfer_tokens_per_s:
            self._submit(running)
            return
        pause_s = missing * block_tokens / self._config.kv_transfer_tokens_per_s
        running.coming = spawn(self._load(running, pause_s), "simulated-kv-load")

    async def _load(self, running: _Running, pause_s: float) -> None:
        await self._clock.sleep(pause_s)
        if self._running.get(running.request.key) is running:
            self._submit(running)

    async def _fetch(self, running: _Running, source: Fetch) -> None:
        lost = ""
        try:
            running.request.received_tokens = await fetch(source)
        except LostPrefill as error:
            lost = str(error)
        if self._running.get(running.request.key) is not running:  # aborted meanwhile
            return
        if lost:
            del self._running[running.request.key]
            _end(running.emit, failures.engine_failed(lost))
        else:
            self._submit(running)

    def _let_go(self, request: Request) -> None:
        self._model.let_go(request, self._clock.monotonic())
        self._work.set()

    def _request(self, rid: str, prompt: Prompt) -> tuple[Request, str]:
        """The model's request, and why its answer will end: by the client's limit, or by itself."""
        limit = prompt.output_tokens
        output_tokens = self._config.default_max_tokens if limit is None else limit
        finish = "stop" if limit is None and not prompt.ignore_eos else "length"
        return Request(rid, prompt.prompt_tokens, output_tokens, prompt.blocks), finish

    def _end_all(self, failure: Failure) -> None:
        for running in self._running.values():
            if running.coming is not None:
                running.coming.cancel()
            _end(running.emit, failure)
        self._running.clear()
        self._outlet.forget_all()
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
            if count == 1 and self._stored is not None:
                self._stored.store(request.blocks)
            if count >= request.output_tokens:
                del self._running[request.key]
                running.emit(_last_piece(running, self._handed_over(running)))
            elif not running.stream:
                continue
            elif count > 1:
                running.emit(Piece(running.answer.chunk(count - 1), tokens=1))
            else:
                running.emit(Piece(running.answer.role_chunk() + running.answer.chunk(0), tokens=1))
            emitted = True
        return emitted

    def _handed_over(self, running: _Running) -> dict[str, Any]:
        """What the answer says more, now that the prompt can be fetched."""
        hand_over, request, outlet = running.hand_over, running.request, self._outlet
        if hand_over is None:
            return {}
        outlet.computed(hand_over.name, request)
        if not hand_over.tells_where:
            return {}
        blocks = -(-request.prompt_tokens // self._config.block_tokens)
        return {"kv_transfer_params": where_it_is(hand_over.name, outlet.engine_id, outlet.address, blocks)}


def _end(emit: Emit, failure: Failure) -> None:
    """Emit soon: never inside the call that found the failure."""
    asyncio.get_running_loop().call_soon(emit, failures.final(failure))


def _last_piece(running: _Running, more: dict[str, Any]) -> Piece:
    request, answer = running.request, running.answer
    cached_tokens = max(request.cached_tokens, running.stored_tokens)
    usage = Usage(request.prompt_tokens, cached_tokens, request.produced_tokens)
    if not running.stream:
        return Piece(answer.whole(usage, **more), tokens=usage.output_tokens, final=True, usage=usage)
    first = answer.role_chunk() if request.produced_tokens == 1 else b""
    data = first + answer.chunk(request.produced_tokens - 1) + answer.end_of_stream(usage, running.include_usage)
    return Piece(data, tokens=1, final=True, usage=usage)
