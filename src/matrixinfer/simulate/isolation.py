"""What one tenant does to the others: the same workload with and without it, through each policy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from matrixinfer.simulate.comparison import Options, Progress, run
from matrixinfer.simulate.errors import BadChoice
from matrixinfer.simulate.life import Life
from matrixinfer.simulate.measures import Percentiles, percentiles
from matrixinfer.simulate.workload import Workload


class Isolation(msgspec.Struct, frozen=True):
    """TTFT in seconds: of the others when they are alone and beside the tenant, and the tenant's own."""

    alone_s: Percentiles
    beside_s: Percentiles
    tenant_s: Percentiles

    @property
    def p99_ratio(self) -> float:
        """How many times longer the others wait for it: 1 is perfect isolation."""
        return self.beside_s.p99 / self.alone_s.p99


def isolate(
    workload: Workload, tenant: str, names: Sequence[str], options: Options, progress: Progress
) -> dict[str, Isolation]:
    """By policy. Raises BadChoice for a tenant that sends nothing, or everything."""
    tenants = {arrival.tenant for arrival in workload.arrivals}
    if tenant not in tenants or len(tenants) == 1:
        raise BadChoice(f"tenant {tenant!r}: expected one of several in this workload: {', '.join(sorted(tenants))}")
    others = Workload(workload.name, [one for one in workload.arrivals if one.tenant != tenant], workload.concurrency)
    found = {}
    for name in names:
        alone, _ = run(others, name, options, partial(progress, name))
        together, _ = run(workload, name, options, partial(progress, name))
        found[name] = Isolation(
            _ttft_s(alone),
            _ttft_s([life for life in together if life.arrival.tenant != tenant]),
            _ttft_s([life for life in together if life.arrival.tenant == tenant]),
        )
    return found


def _ttft_s(lives: Sequence[Life]) -> Percentiles:
    return percentiles([life.ttft_s for life in lives if life.end == "finished"])
