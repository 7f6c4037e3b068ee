"""The tables."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from bench.client import percentile
from bench.house import Idle
from bench.rows import PLATFORM, Pair, ttft_ms


def ttft(console: Console, pair: Pair) -> None:
    table = Table("TTFT", "platform ms", "engine alone ms", "added ms", title="One client, streamed")
    for label, share in (("p50", 0.5), ("p99", 0.99)):
        platform, direct = ttft_ms(pair, share)
        table.add_row(label, f"{platform:.3f}", f"{direct:.3f}", f"{platform - direct:.3f}")
    console.print(table)


def requests(console: Console, pairs: list[Pair]) -> None:
    table = Table(
        "load", "req/s", "of engine alone", "p50/p99 ms", *(f"{p} µs" for p in (*PLATFORM, "agent")), "errors"
    )
    table.title = "Whole answers; CPU per request of each part"
    for pair in pairs:
        times = pair.platform.latencies
        table.add_row(
            pair.name,
            f"{pair.platform.requests_per_s:,.0f}",
            f"{pair.platform.requests_per_s / max(1e-9, pair.direct.requests_per_s):.2f}",
            f"{percentile(times, 0.5) * 1e3:.1f}/{percentile(times, 0.99) * 1e3:.1f}",
            *(_each(pair, part, pair.platform.requests) for part in (*PLATFORM, "agent")),
            str(pair.platform.errors),
        )
    console.print(table)


def chunks(console: Console, pair: Pair) -> None:
    table = Table("load", "chunks/s", "of engine alone", *(f"{p} µs" for p in (*PLATFORM, "agent")), "errors")
    table.title = "Streams at full speed; CPU per chunk of each part"
    table.add_row(
        pair.name,
        f"{pair.platform.events_per_s:,.0f}",
        f"{pair.platform.events_per_s / max(1e-9, pair.direct.events_per_s):.2f}",
        *(_each(pair, part, pair.platform.events) for part in (*PLATFORM, "agent")),
        str(pair.platform.errors),
    )
    console.print(table)


def idle(console: Console, measured: Idle) -> None:
    table = Table("part", "RSS MiB", "CPU % of a core", title=f"matrixinfer up, {measured.engine}, idle")
    for part, rss in measured.rss_mib.items():
        table.add_row(part, f"{rss:.0f}", f"{measured.cpu_percent[part]:.1f}")
    table.add_row("all", f"{sum(measured.rss_mib.values()):.0f}", f"{sum(measured.cpu_percent.values()):.1f}")
    console.print(table)
    console.print(f"from the command line to the first token: {measured.first_token_s:.1f} s")


def profile(console: Console, part: str, rows: list[tuple[str, float]]) -> None:
    table = Table("share", "where", title=f"{part}: where its time goes")
    for where, share in rows:
        table.add_row(f"{share:.1%}", where)
    console.print(table)


def _each(pair: Pair, part: str, count: int) -> str:
    used_s = sum(seconds for name, seconds in pair.cpu_s.items() if name == part or name.startswith(f"{part}-"))
    return f"{used_s / max(1, count) * 1e6:.1f}"
