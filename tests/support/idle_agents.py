"""Agents that only pretend: they say for each pod of a pool that it has nothing to do, again and again."""

from __future__ import annotations

import asyncio
import contextlib

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.load import LoadEvent, Snapshot
from matrixinfer.bus.contracts.serving import PoolPod
from matrixinfer.bus.errors import Unavailable

EVERY_S = 0.2


async def speak_for_idle_agents(bus: Bus) -> None:
    """Until cancelled."""
    sequence = 0
    while True:
        sequence += 1
        with contextlib.suppress(Unavailable):
            for entry in (await bus.store("SERVING").entries("pod")).values():
                pod = decode(entry.value, PoolPod)
                event = LoadEvent(pod.namespace, pod.pod, pod.pod, sequence, snapshot=Snapshot(4))
                await bus.signals.publish(bus.subjects.load(pod.namespace, pod.pod), encode(event))
        await asyncio.sleep(EVERY_S)
