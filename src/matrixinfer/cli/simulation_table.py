"""How a comparison of policies looks in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.table import Table

from matrixinfer.simulate.comparison import Comparison, Options
from matrixinfer.simulate.isolation import Isolation
from matrixinfer.simulate.measures import Measures, Percentiles
from matrixinfer.simulate.policies import DEFAULT
from matrixinfer.simulate.workload import Workload

COLUMNS = (
    "policy",
    "TTFT p50",
    "p90",
    "p99",
    "TPOT p50",
    "p90",
    "p99",
    "goodput",
    "answers",
    "hits",
    "Jain",
    "worst",
    "rejected",
)
UNITS = ("", "s", "s", "s", "ms", "ms", "ms", "1/s", "1/s", "", "", "s", "")
WIDTH = 118


def headline(comparison: Comparison, offered: Workload, options: Options) -> str:
    """What was simulated, and how fast."""
    arrivals = offered.arrivals
    span_s = arrivals[-1].at - arrivals[0].at
    load = f"{offered.concurrency} at once" if offered.concurrency else f"{len(arrivals) / (span_s or 1.0):.3g}/s"
    pods = f"{options.pods} pods"
    if options.prefill_pods:
        pods += f" ({options.prefill_pods} prefill, {options.pods - options.prefill_pods} decode)"
    good = f"first token within {options.slo.ttft_s:g} s, then {options.slo.tpot_s * 1e3:g} ms apart"
    return (
        f"{comparison.workload}: {len(arrivals)} requests, {load}, {pods}; good: {good}; "
        f"{comparison.events_per_s:,.0f} events/s"
    )


def table(comparison: Comparison) -> Table:
    """A row for each policy, ours in bold; `worst` is the largest p99 of TTFT of any tenant."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 1))
    for column, unit in zip(COLUMNS, UNITS, strict=True):
        drawn.add_column(f"{column}\n{unit}", justify="left" if column == "policy" else "right", no_wrap=True)
    for name, measures in comparison.policies.items():
        drawn.add_row(name, *_cells(measures), style="bold" if name == DEFAULT else "")
    return drawn


def isolation_headline(offered: Workload, tenant: str, options: Options) -> str:
    arrivals = offered.arrivals
    own = sum(1 for arrival in arrivals if arrival.tenant == tenant)
    return (
        f"{offered.name}: {len(arrivals)} requests, {own} of them of {tenant}, {options.pods} pods; TTFT of the others "
        "without it and beside it"
    )


def isolation_table(found: Mapping[str, Isolation]) -> Table:
    """A row for each policy, ours in bold."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 1))
    drawn.add_column("policy\n", no_wrap=True)
    for title in ("alone p50", "p99", "beside p50", "p99", "its own p50", "p99"):
        drawn.add_column(f"{title}\ns", justify="right", no_wrap=True)
    drawn.add_column("p99 beside\n/ alone", justify="right", no_wrap=True)
    for name, one in found.items():
        times_s = [each for part in (one.alone_s, one.beside_s, one.tenant_s) for each in (part.p50, part.p99)]
        cells = [f"{each:.3g}" for each in times_s]
        drawn.add_row(name, *cells, f"{one.p99_ratio:.2f}", style="bold" if name == DEFAULT else "")
    return drawn


def _cells(measures: Measures) -> list[str]:
    return [
        *_three(measures.ttft_s, 1.0),
        *_three(measures.tpot_s, 1000.0),
        f"{measures.goodput_rps:.2f}",
        f"{measures.answers_rps:.2f}",
        f"{measures.hit_rate:.1%}",
        f"{measures.jain:.3f}",
        _number(measures.worst_tenant_ttft_p99_s),
        str(measures.rejected),
    ]


def _three(values: Percentiles, unit: float) -> list[str]:
    return [_number(value * unit) for value in (values.p50, values.p90, values.p99)]


def _number(value: float) -> str:
    """Three digits; a dash for what does not exist."""
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
