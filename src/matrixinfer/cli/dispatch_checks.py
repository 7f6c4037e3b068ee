"""What the dispatchers say in the reports of their queues: which caches they do not believe, how long plug-ins take."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts.codec import decode
from matrixinfer.bus.contracts.dispatch import PluginTiming, QueueReport
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.bus.ports import Signal
from matrixinfer.cli.findings import Finding

LISTEN_S = 0.75
"""Reports come four times a second while there is something to tell."""

SLOW_S = 0.001
"""A dispatcher decides one request after the other: a plug-in that takes so long leaves less than 1,000 a second."""

MISMATCH_ADVICE = (
    "compare the engine's tokenizer, chat template, block size and hash with the gateway's; until they agree, dispatch "
    "goes by what it sent there"
)
SLOW_ADVICE = "every request of the pool waits for it: make it faster, or take it out of the ModelServer's profile"

_SHOWN = 3


async def dispatch_findings(bus: Bus) -> AsyncIterator[Finding]:
    """What every dispatcher with something to tell says now."""
    newest: dict[tuple[str, str, int], QueueReport] = {}

    async def hear(signal: Signal) -> None:
        try:
            report = decode(signal.data, QueueReport)
        except Malformed:  # of another version; the version's own finding tells
            return
        newest[report.namespace, report.modelserver, report.shard] = report

    try:
        subscription = await bus.signals.subscribe(bus.subjects.queue_filter(), hear)
        await bus.clock.sleep(LISTEN_S)
        await subscription.close()
    except BusError as error:
        yield Finding("wrong", "caches", f"the dispatchers' reports cannot be heard: {error}", "see topology")
        return
    reports = [newest[shard] for shard in sorted(newest)]
    for finding in [*cache_mismatches(reports), *plugin_timings(reports)]:
        yield finding


def cache_mismatches(reports: Iterable[QueueReport]) -> Iterator[Finding]:
    texts = sorted({f"{_pool(report)}: {text}" for report in reports for text in report.suspicions})
    if not texts:
        yield Finding("fine", "caches", "no engine contradicts what dispatch believes to be cached")
    for text in texts:
        yield Finding("wrong", "caches", text, MISMATCH_ADVICE)


def plugin_timings(reports: Iterable[QueueReport]) -> Iterator[Finding]:
    """One for each shard that decides now, and one more for each plug-in that is slow there."""
    for report in reports:
        timed = sorted((one for one in report.timings if one.calls), key=mean_s, reverse=True)
        if not timed:
            continue
        shown = ", ".join(f"{one.plugin} {_micros(mean_s(one))}" for one in timed[:_SHOWN])
        more = f" and {len(timed) - _SHOWN} more" if len(timed) > _SHOWN else ""
        whole = _micros(sum(mean_s(one) for one in timed))
        where = f"{_pool(report)}, shard {report.shard}"
        yield Finding("fine", "plug-ins", f"{where}: {whole} a decision: {shown}{more}")
        for one in timed:
            if mean_s(one) >= SLOW_S:
                text = f"{where}: {one.plugin} takes {_micros(mean_s(one))} a decision, {_micros(one.longest_s)} once"
                yield Finding("wrong", "plug-ins", text, SLOW_ADVICE)


def mean_s(timing: PluginTiming) -> float:
    return timing.total_s / timing.calls


def _pool(report: QueueReport) -> str:
    return f"{report.namespace}/{report.modelserver}"


def _micros(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} µs"
