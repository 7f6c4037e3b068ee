"""The comparison as a picture. Only here matplotlib is imported, and only when a chart is asked for."""

from __future__ import annotations

from pathlib import Path

from matrixinfer.simulate.comparison import Comparison
from matrixinfer.simulate.errors import NoChart
from matrixinfer.simulate.policies import DEFAULT

OURS, THEIRS = "tab:blue", "tab:gray"


def draw(comparison: Comparison, path: Path) -> None:
    """Four panels with a bar for each policy. Raises NoChart and OSError."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NoChart("a chart needs matplotlib: install it with `pip install 'matrixinfer[simulate]'`") from error
    names = list(comparison.policies)[::-1]
    measures = [comparison.policies[name] for name in names]
    panels = {
        "goodput at the SLO, requests/s (more is better)": [one.goodput_rps for one in measures],
        "TTFT p90, s (less is better)": [one.ttft_s.p90 for one in measures],
        "TPOT p90, s (less is better)": [one.tpot_s.p90 for one in measures],
        "prompt tokens found in the cache": [one.hit_rate for one in measures],
    }
    figure = Figure(figsize=(12, 2.5 + 0.6 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(comparison.workload)
    colours = [OURS if name == DEFAULT else THEIRS for name in names]
    for axes, (title, values) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        bars = axes.barh(names, values, color=colours)
        axes.bar_label(bars, fmt="%.3g", padding=3)
        axes.margins(x=0.15)
        axes.set_title(title, fontsize="medium")
    figure.savefig(path, format="png", dpi=120)
