"""Small workloads and pods for the tests of the simulator."""

from __future__ import annotations

import random
from collections.abc import Sequence

from matrixinfer.agents.engines.simulated.batching import Request
from matrixinfer.simulate.immediate import Gateway
from matrixinfer.simulate.life import Life
from matrixinfer.simulate.pods import H100_7B, SimulatedPod
from matrixinfer.simulate.workload import BLOCK_TOKENS, Arrival, Blocks, Workload

BLOCKS = Blocks()


def arrival(
    rid: str = "r", at: float = 0.0, *, prefix: str = "", prefix_blocks: int = 0, own: int = 300, output: int = 8
):
    """A prompt of `prefix_blocks` shared blocks named `prefix`, and `own` tokens of its own."""
    blocks = BLOCKS.run(prefix, prefix_blocks) + BLOCKS.fresh(rid, own // BLOCK_TOKENS)
    tokens = prefix_blocks * BLOCK_TOKENS + own
    return Arrival(rid=rid, at=at, prompt_tokens=tokens, output_tokens=output, blocks=blocks)


def workload(*arrivals: Arrival, concurrency: int = 0) -> Workload:
    return Workload("test", arrivals, concurrency)


def gateway(pods: int, in_flight: Sequence[int] = ()) -> Gateway:
    """Idle engines behind it; chance is seeded."""
    engines = [SimulatedPod(index, H100_7B) for index in range(pods)]
    return Gateway(engines, list(in_flight) or [0] * pods, random.Random(0))


def ended(of: Arrival, pod: int, *, first_token_at: float = 0.1, ended_at: float = 1.0) -> Life:
    """What a balancer is told when the answer is complete."""
    request = Request(of.rid, of.prompt_tokens, of.output_tokens, of.blocks)
    return Life(of, 0.0, first_token_at, ended_at, pod, request, "finished")
