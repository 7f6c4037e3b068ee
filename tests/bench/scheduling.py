"""What one scheduling decision costs: 256 pods, a prompt of 8k tokens, every filter and every scorer, each of which the
runtime times itself.

PYTHONPATH=src:tests python -m bench.scheduling
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random

from msgspec import structs
from rich.console import Console
from rich.table import Table

from matrixinfer.bus.contracts.disaggregation import Disaggregation
from matrixinfer.bus.contracts.profile import Plugin, Profile, WeightedPlugin
from matrixinfer.bus.contracts.serving import PoolPod
from matrixinfer.handlers.dispatch.fleet import Fleet
from matrixinfer.handlers.dispatch.pairs.split import Split
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.port import Knowledge
from matrixinfer.handlers.dispatch.scheduling.profile import compile_profile
from matrixinfer.handlers.dispatch.scheduling.registry import BUILT_IN
from matrixinfer.handlers.dispatch.scheduling.runtime import ProfileScheduler
from support.scheduling import LEAST_REQUESTS, NOW, a_pod, a_request, surroundings
from support.scripted import MS, NS

BUDGET_US = 300.0
FULL_PROFILE = "full profile"
PODS = 256
BLOCKS = 32
DECISIONS = 500
ROUNDS = 10

FULL = Profile(
    name="full",
    filters=[Plugin(name) for name in BUILT_IN.filters],
    scorers=[WeightedPlugin(name) for name in BUILT_IN.scorers],
)


PAIRED = Profile(
    name="paired", filters=[Plugin("role"), Plugin("has_room")], scorers=[WeightedPlugin("predicted_ttft")]
)
"""`ready` is left out: the pods of this measurement are listed nowhere."""


class EveryPod:
    """Every pod holds some of the prompt, which is the dearest case. As an index it costs nothing: that is measured
    for itself."""

    def __init__(self, pods: list[Pod], rng: Random) -> None:
        self._held: dict[str, float] = {pod.name: rng.randrange(1, BLOCKS + 1) * 256 for pod in pods}

    def matches(self, block_hashes: bytes) -> Mapping[str, float]:
        return self._held

    def knows(self, pod: str) -> bool:
        return True

    knows_bytes = knows


def pods_of_a_pool(count: int, rng: Random) -> list[Pod]:
    return [
        a_pod(
            f"qwen-{index}",
            used=rng.randrange(0, 12),
            slots=16,
            prefill_tokens=rng.randrange(0, 20_000),
            kv_tokens=rng.randrange(0, 60_000),
            topology=(f"zone-{index % 3}", f"rack-{index % 16}", f"node-{index}"),
            kv_usage=rng.random() * 0.8,
            kv_capacity_tokens=200_000,
            ttft_s=0.2 + rng.random(),
            tpot_s=0.02 + rng.random() / 50,
            measured_at=NOW - 20 * rng.random(),
            adapters=frozenset(rng.sample(["sql", "law", "med", "code"], 2)),
        )
        for index in range(count)
    ]


def requests(rng: Random) -> list[Request]:
    return [
        a_request(
            8192,
            block_hashes=rng.randbytes(8 * BLOCKS),
            session=f"s{number % 100}",
            adapter="sql",
            near=("zone-1", "rack-4", "node-4"),
        )
        for number in range(DECISIONS)
    ]


def scheduler(profile: Profile, pods: list[Pod], clock: Callable[[], float]) -> ProfileScheduler:
    caches = EveryPod(pods, Random(2))
    return compile_profile(profile, BUILT_IN, surroundings(knowledge=Knowledge(caches, caches), clock=clock))


def cost_us(chosen: ProfileScheduler, pods: list[Pod], of: list[Request]) -> float:
    """CPU time of one decision in microseconds: the mean of the round that others on this machine disturbed least."""
    rng, rounds = Random(3), []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for request in of:
            chosen.pick(request, pods, NOW, rng)
        rounds.append((time.process_time() - begun) / len(of))
    return min(rounds) * 1e6


def _any(pods: Sequence[Pod]) -> Sequence[Pod]:
    return pods


def pair_cost_us(pods: list[Pod], of: list[Request]) -> float:
    """The same, of the choice of a pair: half of the pods prefill, half decode, in groups of 16."""
    for number, pod in enumerate(pods):
        listed = PoolPod(NS, MS, pod.name, "decode" if number % 2 else "prefill", f"group-{number // 16}")
        pod.describe(structs.replace(listed, topology=list(pod.topology)))
    fleet = Fleet(math.inf, math.inf)
    fleet.pods = {pod.name: pod for pod in pods}
    split = Split(fleet, scheduler(PAIRED, pods, time.process_time), Random(3))
    split.plan = Disaggregation("nixl", "always")
    rounds = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for request in of:
            split.choose(request, pods, _any, NOW)
        rounds.append((time.process_time() - begun) / len(of))
    return min(rounds) * 1e6


def main(console: Console | None = None) -> None:
    console = console or Console(width=120)
    for count in (PODS, 1000):
        pods, asked = pods_of_a_pool(count, Random(1)), requests(Random(4))
        full = scheduler(FULL, pods, time.process_time)
        costs = {
            FULL_PROFILE: cost_us(full, pods, asked),
            "default profile": cost_us(scheduler(Profile(), pods, time.process_time), pods, asked),
            "least_requests alone": cost_us(scheduler(LEAST_REQUESTS, pods, time.process_time), pods, asked),
        }
        roomy = [pod for pod in pods if pod.free > 0]
        costs["a pair, half of the pods for each role"] = pair_cost_us(roomy, asked)
        table = Table("", "CPU µs", "budget", title=f"One decision over {count} pods, a prompt of {BLOCKS} blocks")
        for name, cost in costs.items():
            table.add_row(name, f"{cost:.1f}", f"{BUDGET_US:g}" if (count, name) == (PODS, FULL_PROFILE) else "")
        table.add_section()
        for name, timing in full.timings().items():
            table.add_row(f"of the full profile: {name}", f"{timing.mean_s * 1e6:.1f}", "")
        console.print(table)


if __name__ == "__main__":
    main()
