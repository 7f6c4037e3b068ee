"""The cache index of one dispatcher under a large fleet: `PYTHONPATH=tests .venv/bin/python -m bench.cache_index`.

Each side runs in a process of its own, so that memory is its own. The baseline is a dictionary of sets.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.cache import BlocksRemoved, BlocksStored, CacheEvent
from matrixinfer.bus.contracts.control import CacheDumped
from matrixinfer.handlers.dispatch.cache_index.approximate import ApproximateIndex
from matrixinfer.handlers.dispatch.cache_index.event_feed import EventFeed
from matrixinfer.handlers.dispatch.cache_index.kv_index import KvIndex
from support.naive_index import NaiveIndex

BLOCKS_PER_S = 17_000 / 256
EVENTS_PER_S = 10
CHUNK_BLOCKS = 4096
SHARED_PODS = 256
CHAIN_BLOCKS = 32


@dataclass(frozen=True)
class Load:
    """A fleet with full caches; `seconds` of its events are measured."""

    pods: int
    blocks_a_pod: int
    seconds: int

    @property
    def blocks(self) -> int:
        return self.pods * self.blocks_a_pod


@dataclass(frozen=True)
class Measured:
    """`events_cores` is CPU time in a second of the fleet's life; `lookup_us` of one chain; `drop_s` of one pod."""

    bytes_a_block: float
    rebuild_s: float
    events_cores: float
    lookup_us: float
    drop_s: float
    record_us: float = 0.0
    match_us: float = 0.0


def pod_name(number: int) -> str:
    return f"pod-{number}"


def dumps(load: Load) -> dict[str, list[bytes]]:
    """For each pod its dump as encoded chunks; the blocks are its own, drawn anew from its number."""
    found = {}
    for number in range(load.pods):
        cached = random.Random(number).randbytes(8 * load.blocks_a_pod)
        size = 8 * CHUNK_BLOCKS
        parts = [cached[start : start + size] for start in range(0, len(cached), size)]
        more = [*range(1, len(parts)), 0]
        chunks = [encode(CacheDumped("boot", 0, at, more[at], [BlocksStored(part)])) for at, part in enumerate(parts)]
        found[pod_name(number)] = chunks
    return found


def events(load: Load, rng: random.Random) -> list[bytes]:
    """Each pod stores new blocks and removes as many of those that it had first, ten times a second."""
    messages = []
    had = {number: random.Random(number).randbytes(8 * load.blocks_a_pod) for number in range(load.pods)}
    for turn in range(load.seconds * EVENTS_PER_S):
        first = 8 * int(turn * BLOCKS_PER_S / EVENTS_PER_S)
        end = 8 * int((turn + 1) * BLOCKS_PER_S / EVENTS_PER_S)
        for number, cached in had.items():
            stored = BlocksStored(rng.randbytes(end - first))
            event = CacheEvent("ns", pod_name(number), "boot", turn + 1, [BlocksRemoved(cached[first:end]), stored])
            messages.append(encode(event))
    return messages


def share_a_prompt(index: KvIndex | NaiveIndex | ApproximateIndex, rng: random.Random) -> bytes:
    """One prompt of which 256 pods have more or less."""
    chain = rng.randbytes(8 * CHAIN_BLOCKS)
    for number in range(SHARED_PODS):
        part = chain[: 8 * rng.randint(1, CHAIN_BLOCKS)] if number % 2 else chain
        if isinstance(index, ApproximateIndex):
            index.record(pod_name(number), part, 0.0)
        else:
            index.stored(pod_name(number), part)
    return chain


def cpu_s(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def rss_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def measure_exact(load: Load) -> Measured:
    rng = random.Random(1)
    index = KvIndex(load.blocks * 5 // 4)
    feed = EventFeed(index, pace_s=0.0)
    answers, messages = dumps(load), events(load, rng)
    before = rss_bytes()
    rebuild_s = cpu_s(lambda: rebuild(feed, answers))
    used = rss_bytes() - before
    cores = cpu_s(lambda: follow(feed, messages)) / load.seconds
    chain = share_a_prompt(index, rng)
    lookup_us = each_us(lambda: index.matches(chain), 2000)
    drop_s = cpu_s(lambda: drop(index, pod_name(load.pods - 1)))
    return Measured(used / load.blocks, rebuild_s, cores, lookup_us, drop_s, *measure_approximate(rng))


def drop(index: KvIndex, pod: str) -> None:
    index.dropped(pod)
    while index.clean():
        pass


def rebuild(feed: EventFeed, answers: dict[str, list[bytes]]) -> None:
    for pod in answers:
        feed.hear(CacheEvent("ns", pod, "boot", 0))
    while (ask := feed.next_ask(0.0)) is not None:
        feed.answered(ask, decode(answers[ask.pod][ask.order.cursor], CacheDumped), 0.0)


def follow(feed: EventFeed, messages: list[bytes]) -> None:
    for message in messages:
        feed.hear(decode(message, CacheEvent))


def measure_approximate(rng: random.Random) -> tuple[float, float]:
    """Recording into full memories, and matching over 256 pods."""
    index = ApproximateIndex(capacity_blocks=1024)
    names = [pod_name(number) for number in range(SHARED_PODS)]
    for name in names:
        index.record(name, rng.randbytes(8 * 1024), 0.0)
    prompts = iter([rng.randbytes(8 * CHAIN_BLOCKS) for _ in range(4000)])
    record_us = each_us(lambda: index.record(names[0], next(prompts), 0.0), 4000)
    chain = share_a_prompt(index, rng)
    return record_us, each_us(lambda: index.matches(chain), 2000)


def measure_naive(load: Load) -> Measured:
    rng = random.Random(1)
    index = NaiveIndex()
    answers, messages = dumps(load), events(load, rng)
    before = rss_bytes()
    rebuild_s = cpu_s(lambda: naive_rebuild(index, answers))
    used = rss_bytes() - before
    cores = cpu_s(lambda: naive_follow(index, messages)) / load.seconds
    chain = share_a_prompt(index, rng)
    lookup_us = each_us(lambda: index.matches(chain), 200)
    drop_s = cpu_s(lambda: index.dropped(pod_name(load.pods - 1)))
    return Measured(used / load.blocks, rebuild_s, cores, lookup_us, drop_s)


def naive_rebuild(index: NaiveIndex, answers: dict[str, list[bytes]]) -> None:
    for pod, chunks in answers.items():
        for chunk in chunks:
            for blocks in decode(chunk, CacheDumped).blocks:
                index.stored(pod, blocks.hashes, blocks.tier)


def naive_follow(index: NaiveIndex, messages: list[bytes]) -> None:
    for message in messages:
        event = decode(message, CacheEvent)
        for change in event.changes:
            if isinstance(change, BlocksStored):
                index.stored(event.pod, change.hashes, change.tier)
            elif isinstance(change, BlocksRemoved):
                index.removed(event.pod, change.hashes, change.tier)


def each_us(call: Callable[[], Any], times: int) -> float:
    """The best of five rounds: the machine may have other work."""
    return min(cpu_s(lambda: [call() for _ in range(times // 5)]) for _ in range(5)) / (times // 5) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.cache_index", description=__doc__)
    parser.add_argument("--pods", type=int, default=1000, help="pods with full caches (default: 1000)")
    parser.add_argument("--blocks", type=int, default=5000, help="blocks each pod has (default: 5000)")
    parser.add_argument("--seconds", type=int, default=3, help="seconds of events measured (default: 3)")
    chosen = parser.parse_args()
    measure(Console(width=120), Load(chosen.pods, chosen.blocks, chosen.seconds))


def measure(console: Console, load: Load = Load(1000, 5000, 3)) -> None:
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as alone:
        ours, naive = alone.apply(measure_exact, (load,)), alone.apply(measure_naive, (load,))
    console.print(table(load, ours, naive))


def table(load: Load, ours: Measured, naive: Measured) -> Table:
    shown = Table("", "index", "dictionary of sets", "budget", title=f"Cache index, {load.blocks:,} blocks")
    rate = load.pods * BLOCKS_PER_S
    shown.add_row(
        f"{load.pods} pods, {rate:,.0f} blocks/s in and out, cores",
        f"{ours.events_cores:.2f}",
        f"{naive.events_cores:.2f}",
        "1",
    )
    shown.add_row("rebuilt from dumps, s", f"{ours.rebuild_s:.1f}", f"{naive.rebuild_s:.1f}", "")
    shown.add_row("a pod that is gone cleaned out, s", f"{ours.drop_s:.2f}", f"{naive.drop_s:.2f}", "")
    shown.add_row("memory, bytes a block", f"{ours.bytes_a_block:.0f}", f"{naive.bytes_a_block:.0f}", "")
    shown.add_row("lookup of 32 blocks, 256 pods, µs", f"{ours.lookup_us:.1f}", f"{naive.lookup_us:.1f}", "50")
    shown.add_row("approximate: record 32 blocks, µs", f"{ours.record_us:.1f}", "", "30")
    shown.add_row("approximate: match 32 blocks, 256 pods, µs", f"{ours.match_us:.1f}", "", "50")
    return shown


if __name__ == "__main__":
    main()
