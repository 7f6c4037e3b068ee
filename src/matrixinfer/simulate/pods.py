"""A pod on virtual time: the simulated engine's model, and the counters that an engine's metrics page would show."""

from __future__ import annotations

from typing import NamedTuple

from matrixinfer.agents.engines.simulated.batching import BatchingModel, Request, Speed
from matrixinfer.agents.engines.simulated.prefix_cache import PrefixCache
from matrixinfer.agents.engines.simulated.settings import SimulatedConfig
from matrixinfer.simulate.life import Life
from matrixinfer.simulate.workload import BLOCK_TOKENS

H100_7B = SimulatedConfig(
    slots=256,
    max_batch_tokens=8192,
    prefill_tokens_per_s=28_000.0,
    decode_step_s=0.008,
    decode_step_per_request_s=0.00005,
    decode_step_per_context_token_s=1.7e-8,
    kv_capacity_tokens=800_000,
    block_tokens=BLOCK_TOKENS,
    kv_transfer_tokens_per_s=200_000.0,
)
"""A 7B model in bf16 on one H100 (80 GB, 3.35 TB/s, 989 TFLOP/s), by arithmetic from the shape of Qwen2.5-7B.

Prefill: 15.2 GFLOP a token at 43 % of the peak. Decode: 15.2 GB of weights read in 4.5 ms, and as much again for
launches, sampling and scheduling; 0.05 ms of the host a request. A token's keys and values are 28 layers x 4 heads x
128 x 2 x 2 bytes = 56 KB, read in 17 ns. Capacity: 72 GB less weights and 10 GB of activations, over 56 KB. Slots and
batch are in the range of the engines' own defaults. Transfer between two of them: 56 KB a token at nine tenths of
100 Gbit/s, of which the sender has one line.
"""


class Step(NamedTuple):
    """Lives that got their first token in a step, those that ended, and those whose prompt is ready for another."""

    started: list[Life]
    finished: list[Life]
    prefilled: list[Life]


class SimulatedPod:
    """`ttft_total_s` and the like only grow, as counters on a metrics page do."""

    def __init__(self, index: int, config: SimulatedConfig, role: str = "server") -> None:
        self.index = index
        self.name = f"pod-{index}"
        self.role = role
        speed = Speed(
            config.prefill_tokens_per_s,
            config.decode_step_s,
            config.decode_step_per_request_s,
            config.decode_step_per_context_token_s,
        )
        cache = PrefixCache(config.kv_capacity_tokens, config.block_tokens)
        self.model = BatchingModel(config.slots, config.max_batch_tokens, speed, cache, leaps=True)
        self.prefill_tokens_per_s = config.prefill_tokens_per_s
        self.ttft_total_s = self.tpot_total_s = 0.0
        self.ttft_count = self.tpot_count = 0
        self._lives: dict[str, Life] = {}
        self._transfer_tokens_per_s = config.kv_transfer_tokens_per_s
        self._line_free_at = 0.0

    @property
    def kv_usage(self) -> float:
        """Share of the KV cache that running requests need."""
        cache = self.model.cache
        return cache.busy_tokens / cache.capacity_tokens

    def submit(self, life: Life, now: float) -> bool:
        """Take a request in; False when it can never fit."""
        arrival = life.arrival
        received_tokens = arrival.prompt_tokens if life.prefill is not None else 0
        request = Request(
            arrival.rid, arrival.prompt_tokens, arrival.output_tokens, arrival.blocks, received_tokens=received_tokens
        )
        if not self.model.can_ever_fit(request):
            return False
        life.pod, life.request = self.index, request
        self._lives[arrival.rid] = life
        self.model.submit(request, now)
        return True

    def prefill(self, life: Life, now: float) -> bool:
        """Compute its prompt for another pod; False when it can never fit."""
        arrival = life.arrival
        request = Request(arrival.rid, arrival.prompt_tokens, 1, arrival.blocks, lingers=True)
        if not self.model.can_ever_fit(request):
            return False
        life.prefill_pod, life.prefill = self.index, request
        self._lives[arrival.rid] = life
        self.model.submit(request, now)
        return True

    def transfer_ends_at(self, life: Life, to: SimulatedPod, now: float) -> float:
        """When all of its prompt is at the other pod that is not there already, one prompt after the other."""
        arrival = life.arrival
        there_tokens = to.model.cache.hit(arrival.blocks) * BLOCK_TOKENS
        if self._transfer_tokens_per_s:
            seconds = (arrival.prompt_tokens - there_tokens) / self._transfer_tokens_per_s
            now = self._line_free_at = max(now, self._line_free_at) + seconds
        return now

    def let_go(self, life: Life, now: float) -> None:
        """The prompt that it computed is at the other pod, or nobody wants it any more."""
        if life.prefill is not None:
            self.model.let_go(life.prefill, now)

    def abort(self, life: Life, now: float) -> None:
        """Its client left."""
        request = life.prefill if self.index == life.prefill_pod else life.request
        if request is not None and self._lives.pop(life.arrival.rid, None) is not None:
            self.model.abort(request, now)

    def advance(self, now: float) -> Step:
        """End the step that is over at `now`, and note first tokens and ends."""
        started, finished, prefilled = [], [], []
        for request in self.model.advance(now):
            if request.lingers:
                prefilled.append(self._lives.pop(request.key))
                continue
            is_done = request.produced_tokens >= request.output_tokens
            if request.produced_tokens == 1:
                started.append(self._start(request, now))
            if is_done:
                finished.append(self._finish(request, now))
        return Step(started, finished, prefilled)

    def _start(self, request: Request, now: float) -> Life:
        life = self._lives[request.key]
        life.first_token_at = now
        self.ttft_total_s += life.ttft_s
        self.ttft_count += 1
        return life

    def _finish(self, request: Request, now: float) -> Life:
        life = self._lives.pop(request.key)
        life.ended_at = now
        if request.output_tokens > 1:
            self.tpot_total_s += life.tpot_s
            self.tpot_count += 1
        return life
