"""What lies in the streams and nobody takes: dead letters, and requests for pools that are not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.contracts.codec import decode
from matrixinfer.bus.contracts.dead import DeadLetter
from matrixinfer.bus.contracts.serving import Pool
from matrixinfer.bus.errors import BusError, Malformed
from matrixinfer.bus.jetstream import stock
from matrixinfer.bus.settings import BusSettings
from matrixinfer.bus.subjects import Subjects
from matrixinfer.cli.findings import Finding

FRESH_S = 3600.0
"""A younger dead letter is something wrong now; an older one is history, kept for a week."""

LONGEST_REASON = 200
POOLS_NAMED = 5

PoolShard = tuple[str, str, int]


async def leftovers(bus: Bus, settings: BusSettings) -> AsyncIterator[Finding]:
    """Changes nothing. A stream that is missing was told by the topology's finding already."""
    try:
        found = await stock(settings, SystemClock())
        pools = await shards(bus)
    except BusError as error:
        yield Finding("wrong", "requests", f"what waits cannot be read: {error}", "see topology")
        return
    yield dead_letters(found.letters, found.newest_letter, bus.clock.now())
    yield waiting(bus.subjects, found.requests, pools)


async def shards(bus: Bus) -> set[PoolShard]:
    """Of every pool in SERVING that this version can read."""
    known: set[PoolShard] = set()
    for entry in (await bus.store("SERVING").entries("pool")).values():
        try:
            pool = decode(entry.value, Pool)
        except Malformed:
            continue
        known |= {(pool.namespace, pool.modelserver, shard) for shard in range(max(pool.shards, pool.served_shards))}
    return known


def dead_letters(count: int, newest: DeadLetter | None, now: float) -> Finding:
    """`now` in unix seconds."""
    if not count:
        return Finding("fine", "dead letters", "none")
    text = f"{count}; the newest was written by another version"
    if newest is not None:
        when = datetime.fromtimestamp(int(newest.at), UTC).isoformat().replace("+00:00", "Z")
        text = f"{count}; the newest: {newest.stream}, {_one_line(newest.reason)}, {when}"
    is_fresh = newest is None or now - newest.at < FRESH_S
    advice = "mend what the reason names; the message itself stays in the stream DEAD for a week"
    return Finding("wrong" if is_fresh else "note", "dead letters", text, advice)


def waiting(subjects: Subjects, requests: Mapping[str, int], pools: set[PoolShard]) -> Finding:
    """`requests`: messages by subject. Those of a pool that is there are dispatch's."""
    lost: Counter[str] = Counter()
    for subject, count in requests.items():
        try:
            place = subjects.parse_infer(subject)
        except Malformed:
            lost[subject] += count
            continue
        if place[:3] not in pools:
            lost[f"{place.namespace}/{place.modelserver} (shard {place.shard})"] += count
    if not lost:
        return Finding("fine", "requests", f"{sum(requests.values())} wait, each for a pool that is there")
    named = ", ".join(f"{name}: {count}" for name, count in lost.most_common(POOLS_NAMED))
    more = f" and {len(lost) - POOLS_NAMED} more" if len(lost) > POOLS_NAMED else ""
    text = f"{lost.total()} wait for a pool that does not exist: {named}{more}"
    return Finding("wrong", "requests", text, "apply the model again, or let them end by their deadline (504)")


def _one_line(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…"
