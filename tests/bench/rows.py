"""The measurements: each takes a running rig and returns the rows of one table."""

from __future__ import annotations

from dataclasses import dataclass

from bench.client import Tally, load, percentile
from bench.cpu import Meter
from bench.load_shape import chat
from bench.rig import Rig

PLATFORM = ("gateway", "dispatcher", "nats-server")


@dataclass(frozen=True)
class Pair:
    """The same load through the platform and on the engine alone, in this order, with the CPU that each part used."""

    name: str
    platform: Tally
    direct: Tally
    cpu_s: dict[str, float]


async def measure(rig: Rig, name: str, request: bytes, *, connections: int, seconds: float, requests: int) -> Pair:
    """Warm up, then load both, alternating in two halves so that a slow moment hits both alike."""
    await load(rig.port, request, connections=connections, requests=connections * 2)
    await load(rig.direct_port, request, connections=connections, requests=connections * 2)
    meter = Meter(rig.pids)
    platform, direct, cpu_s = Tally(), Tally(), dict.fromkeys(rig.pids, 0.0)
    for _half in range(2):
        meter.start()
        part = await load(rig.port, request, connections=connections, seconds=seconds / 2, requests=requests // 2)
        for process, used in meter.used_s().items():
            cpu_s[process] += used
        _add(platform, part)
        part = await load(
            rig.direct_port, request, connections=connections, seconds=seconds / 2, requests=requests // 2
        )
        _add(direct, part)
    return Pair(name, platform, direct, cpu_s)


async def added_ttft(rig: Rig, seconds: float) -> Pair:
    """Row 1: one client, streamed, first token."""
    request = chat(1024, stream=True, tokens=1)
    return await measure(rig, "streamed, c=1", request, connections=1, seconds=seconds, requests=10**9)


async def throughput(rig: Rig, seconds: float) -> list[Pair]:
    """Row 2: whole answers, 1 KB prompts at growing concurrency, then large prompts."""
    pairs = []
    for connections in (1, 16, 64, 256):
        request = chat(1024, stream=False, tokens=8)
        name = f"whole, 1 KB, c={connections}"
        pairs.append(await measure(rig, name, request, connections=connections, seconds=seconds, requests=10**9))
    for kilobytes in (50, 400, 4000):
        request = chat(kilobytes * 1024, stream=False, tokens=8)
        name = f"whole, {kilobytes} KB, c=16"
        pairs.append(await measure(rig, name, request, connections=16, seconds=seconds, requests=10**9))
    return pairs


async def replicated(rig: Rig, seconds: float) -> list[Pair]:
    """Row 2 again, with three nats-servers."""
    request = chat(1024, stream=False, tokens=8)
    return [
        await measure(rig, f"whole, 1 KB, c={n}, 3 servers", request, connections=n, seconds=seconds, requests=10**9)
        for n in (1, 64)
    ]


async def chunks(rig: Rig, seconds: float) -> Pair:
    """Row 3: 64 streams of 200 chunks each, as fast as they come."""
    request = chat(1024, stream=True, tokens=200)
    return await measure(rig, "64 streams x 200 chunks", request, connections=64, seconds=seconds, requests=10**9)


def ttft_ms(pair: Pair, share: float) -> tuple[float, float]:
    """(platform, direct) first-token time at `share` of the requests, in milliseconds."""
    return percentile(pair.platform.ttfts, share) * 1e3, percentile(pair.direct.ttfts, share) * 1e3


def _add(total: Tally, part: Tally) -> None:
    total.latencies += part.latencies
    total.ttfts += part.ttfts
    total.events += part.events
    total.errors += part.errors
    total.seconds += part.seconds
