"""Workloads made by chance, each to show one thing, the same for the same seed.

Their rates are for each pod of the default engine, so that `--pods` changes the size of the service and not its load.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random

from matrixinfer.simulate.errors import BadChoice
from matrixinfer.simulate.workload import BLOCK_TOKENS, Arrival, Blocks, Workload

REQUESTS_PER_POD = 1000
"""How many a generator makes for each pod unless it is limited: two to four minutes."""


class Maker:
    """What every generator needs: chance, blocks, the number of pods and of requests."""

    def __init__(self, seed: int, pods: int, count: int) -> None:
        self.rng = Random(seed)
        self.blocks = Blocks()
        self.pods = pods
        self.count = count

    def poisson(self, rate_per_pod_rps: float) -> Iterator[float]:
        """Times of arrival at a constant rate."""
        at = 0.0
        while True:
            at += self.rng.expovariate(rate_per_pod_rps * self.pods)
            yield at

    def length(self, median_tokens: int, spread: float = 0.6, most: int = 32_768) -> int:
        """A log-normal length: half of them are above the median."""
        return max(1, min(most, round(self.rng.lognormvariate(math.log(median_tokens), spread))))

    def arrival(
        self,
        number: int,
        at: float,
        prefix: tuple[bytes, ...],
        own_tokens: int,
        output_tokens: int,
        *,
        tenant: str = "default",
    ) -> Arrival:
        """A prompt of the shared blocks `prefix` and `own_tokens` that nobody else has."""
        rid = f"r{number}"
        own = self.blocks.fresh(rid, own_tokens // BLOCK_TOKENS)
        prompt_tokens = len(prefix) * BLOCK_TOKENS + own_tokens
        return Arrival(
            rid=rid, at=at, prompt_tokens=prompt_tokens, output_tokens=output_tokens, tenant=tenant, blocks=prefix + own
        )


def shared_prefix_long(maker: Maker) -> Workload:
    """Kthena's benchmark with system prompts of 4096 tokens (its router blog, 2025-09-09).

    The length of a question is not stated there. Inferred: with both prompts 4,352 tokens long, both its rows for
    random are near 12,000 uncached prompt tokens/s for each of the three replicas, if a third of the long ones hit.
    """
    return _shared_prefix(maker, "shared-prefix-long", 4096, 256)


def shared_prefix_short(maker: Maker) -> Workload:
    """The same with system prompts of 256 tokens, and questions of 4096."""
    return _shared_prefix(maker, "shared-prefix-short", 256, 4096)


def no_reuse(maker: Maker) -> Workload:
    """Prompts that share nothing: no policy may gain by the cache, and none may lose by looking for it."""
    times = maker.poisson(4.0)
    arrivals = [
        maker.arrival(number, next(times), (), maker.length(2048), maker.length(160)) for number in range(maker.count)
    ]
    return Workload("no-reuse", arrivals)


def bursty(maker: Maker) -> Workload:
    """Ten seconds of calm, then two of six times the rate, with forty shared system prompts of 2048 tokens."""
    prefixes = [maker.blocks.run(f"system-{index}", 8) for index in range(40)]
    arrivals, at = [], 0.0
    for number in range(maker.count):
        rate_per_pod_rps = 15.0 if at % 12.0 >= 10.0 else 2.5
        at += maker.rng.expovariate(rate_per_pod_rps * maker.pods)
        prefix = maker.rng.choice(prefixes)
        arrivals.append(maker.arrival(number, at, prefix, maker.length(1024), maker.length(160)))
    return Workload("bursty", arrivals)


def multi_tenant(maker: Maker) -> Workload:
    """Nine light tenants, and a heavy one at ten times the rate of each: together more than the pods can do."""
    tenants = ["heavy", *[f"light-{index}" for index in range(1, 10)]]
    weights = [10.0] + [1.0] * 9
    times = maker.poisson(12.0)
    arrivals = []
    for number in range(maker.count):
        (tenant,) = maker.rng.choices(tenants, weights)
        prefix = maker.blocks.run(tenant, 4)
        arrivals.append(
            maker.arrival(number, next(times), prefix, maker.length(1536), maker.length(128), tenant=tenant)
        )
    return Workload("multi-tenant", arrivals)


def heavy_tenant(maker: Maker) -> Workload:
    """Nine light tenants, who chat, and a heavy one at ten times the rate of each, with prompts three times as long:
    alone it is a little more than the pods can do, while the light ones together are a third."""
    times = maker.poisson(9.5)
    arrivals = []
    for number in range(maker.count):
        index = max(0, maker.rng.randrange(19) - 9)
        tenant = f"light-{index}" if index else "heavy"
        own_tokens = maker.length(1024 if index else 3072)
        prefix = maker.blocks.run(tenant, 4)
        arrivals.append(maker.arrival(number, next(times), prefix, own_tokens, maker.length(128), tenant=tenant))
    return Workload("heavy-tenant", arrivals)


def hot_spot(maker: Maker) -> Workload:
    """A third of the requests share one prompt of 8192 tokens, too many for one pod; the others have two hundred."""
    hot = maker.blocks.run("hot", 32)
    others = [maker.blocks.run(f"cold-{index}", 8) for index in range(200)]
    times = maker.poisson(9.0)
    arrivals = []
    for number in range(maker.count):
        prefix = hot if maker.rng.random() < 1 / 3 else maker.rng.choice(others)
        arrivals.append(maker.arrival(number, next(times), prefix, maker.length(768), maker.length(160)))
    return Workload("hot-spot", arrivals)


def _shared_prefix(maker: Maker, name: str, system_tokens: int, question_tokens: int) -> Workload:
    """256 groups of 32 requests, shuffled; answers of 256 tokens; 800/s, 300 at once."""
    groups = [group for group in range(256) for _ in range(32)]
    maker.rng.shuffle(groups)
    at, arrivals = 0.0, []
    for number, group in enumerate(groups[: maker.count]):
        prefix = maker.blocks.run(f"system-{group}", system_tokens // BLOCK_TOKENS)
        arrivals.append(maker.arrival(number, at, prefix, question_tokens, 256))
        at += maker.rng.expovariate(800.0)
    return Workload(name, arrivals, concurrency=300)


WORKLOADS: dict[str, tuple[Callable[[Maker], Workload], int]] = {
    "shared-prefix-long": (shared_prefix_long, 256 * 32),
    "shared-prefix-short": (shared_prefix_short, 256 * 32),
    "no-reuse": (no_reuse, 0),
    "bursty": (bursty, 0),
    "multi-tenant": (multi_tenant, 0),
    "heavy-tenant": (heavy_tenant, 0),
    "hot-spot": (hot_spot, 0),
}
"""Name → what makes it, and how many requests it has; 0: so many for each pod."""


def generate(name: str, seed: int, pods: int, limit: int | None = None) -> Workload:
    """The workload of that name for so many pods. Raises BadChoice for an unknown name."""
    if name not in WORKLOADS:
        raise BadChoice(f"workload {name!r} is not known; known are: {', '.join(WORKLOADS)}")
    make, requests = WORKLOADS[name]
    return make(Maker(seed, pods, limit or requests or REQUESTS_PER_POD * pods))
