"""What a run is judged by: percentiles, goodput, hit rate, fairness. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from matrixinfer.simulate.life import Life

OUTPUT_WEIGHT = 2.0
"""What an output token counts as service, when a prompt token counts 1 (VTC, arXiv 2401.00588)."""


class Slo(msgspec.Struct, frozen=True):
    """An answer is good when its first token came within `ttft_s`, and the others `tpot_s` apart on the mean."""

    ttft_s: float = 2.0
    tpot_s: float = 0.05


class Percentiles(msgspec.Struct, frozen=True):
    """Seconds; nan when there was nothing to measure."""

    p50: float
    p90: float
    p99: float


class Measures(msgspec.Struct, frozen=True):
    """`rejected` counts what was refused and what was given up by its client. `jain` is in (0, 1], 1 is fair."""

    ttft_s: Percentiles
    tpot_s: Percentiles
    goodput_rps: float
    hit_rate: float
    rejected: int
    jain: float
    worst_tenant_ttft_p99_s: float
    answers_rps: float


def measure(lives: Sequence[Life], slo: Slo, *, closed_loop: bool) -> Measures:
    """Goodput is by the time in which requests came; in a closed loop by the time until the last answer."""
    answered = [life for life in lives if life.end == "finished"]
    begun_at = min(life.sent_at for life in lives)
    until_s = max(life.ended_at for life in lives) - begun_at
    offered_s = max(life.sent_at for life in lives) - begun_at
    span_s = (until_s if closed_loop else offered_s) or until_s or 1.0
    return Measures(
        ttft_s=percentiles([life.ttft_s for life in answered]),
        tpot_s=percentiles([life.tpot_s for life in answered if life.arrival.output_tokens > 1]),
        goodput_rps=sum(1 for life in answered if is_good(life, slo)) / span_s,
        hit_rate=_hit_rate(answered),
        rejected=len(lives) - len(answered),
        jain=_fairness(lives),
        worst_tenant_ttft_p99_s=_worst_tenant(answered),
        answers_rps=len(answered) / (until_s or 1.0),
    )


def is_good(life: Life, slo: Slo) -> bool:
    return life.ttft_s <= slo.ttft_s and (life.arrival.output_tokens == 1 or life.tpot_s <= slo.tpot_s)


def percentiles(values: Sequence[float]) -> Percentiles:
    ordered = sorted(values)
    return Percentiles(percentile(ordered, 0.5), percentile(ordered, 0.9), percentile(ordered, 0.99))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Between the two nearest ranks in proportion; nan of nothing."""
    if not ordered:
        return math.nan
    rank = share * (len(ordered) - 1)
    below = math.floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def jain_index(values: Sequence[float]) -> float:
    """(sum x)^2 / (n sum x^2): 1 when all are equal, 1/n when one has all (Jain, Chiu, Hawe 1984)."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def fair_parts(demands: Mapping[str, float], total: float) -> dict[str, float]:
    """Max-min fairness: nobody gets more than demanded, and what is left is shared equally among the others."""
    parts: dict[str, float] = {}
    for count, (name, demand) in zip(
        range(len(demands), 0, -1), sorted(demands.items(), key=lambda item: item[1]), strict=True
    ):
        parts[name] = min(demand, total / count)
        total -= parts[name]
    return parts


def _fairness(lives: Sequence[Life]) -> float:
    """Jain's index of the service that each tenant got by the last arrival, as a share of its max-min fair part of all
    that was served by then. A service without contention gives everybody what it demands, and is fair."""
    until = max(life.sent_at for life in lives)
    demands: dict[str, float] = defaultdict(float)
    served: dict[str, float] = defaultdict(float)
    for life in lives:
        service = life.arrival.prompt_tokens + OUTPUT_WEIGHT * life.arrival.output_tokens
        demands[life.arrival.tenant] += service
        if life.end == "finished" and life.ended_at <= until:
            served[life.arrival.tenant] += service
    parts = fair_parts(demands, sum(served.values()))
    return jain_index([served[tenant] / part if part else 1.0 for tenant, part in parts.items()])


def _hit_rate(answered: Sequence[Life]) -> float:
    prompt_tokens = sum(life.arrival.prompt_tokens for life in answered)
    return sum(life.cached_tokens for life in answered) / prompt_tokens if prompt_tokens else 0.0


def _worst_tenant(answered: Sequence[Life]) -> float:
    by_tenant: dict[str, list[float]] = defaultdict(list)
    for life in answered:
        by_tenant[life.arrival.tenant].append(life.ttft_s)
    return max((percentile(sorted(times_s), 0.99) for times_s in by_tenant.values()), default=math.nan)
