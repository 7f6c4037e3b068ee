"""Do the caches hold what dispatch believes? The dispatchers judge, and say so in the reports of their queues."""

from __future__ import annotations

from collections.abc import AsyncIterator

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts.codec import decode
from matrixinfer.bus.contracts.dispatch import QueueReport
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.bus.ports import Signal
from matrixinfer.cli.findings import Finding

LISTEN_S = 0.75
"""Reports come four times a second while there is something to tell."""

ADVICE = (
    "compare the engine's tokenizer, chat template, block size and hash with the gateway's; until they agree, dispatch "
    "goes by what it sent there"
)


async def cache_mismatches(bus: Bus) -> AsyncIterator[Finding]:
    """What every dispatcher suspects now."""
    suspicions: set[str] = set()

    async def hear(signal: Signal) -> None:
        try:
            report = decode(signal.data, QueueReport)
        except Malformed:  # of another version; the version's own finding tells
            return
        suspicions.update(f"{report.namespace}/{report.modelserver}: {text}" for text in report.suspicions)

    try:
        subscription = await bus.signals.subscribe(bus.subjects.queue_filter(), hear)
        await bus.clock.sleep(LISTEN_S)
        await subscription.close()
    except BusError as error:
        yield Finding("wrong", "caches", f"the dispatchers' reports cannot be heard: {error}", "see topology")
        return
    if not suspicions:
        yield Finding("fine", "caches", "no engine contradicts what dispatch believes to be cached")
    for text in sorted(suspicions):
        yield Finding("wrong", "caches", text, ADVICE)
