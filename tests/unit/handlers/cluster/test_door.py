"""The door while it is busy: nobody waits for somebody else's text to be read."""

from __future__ import annotations

import asyncio
import threading

import pytest

from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.cluster_client import ClusterClient, Refused
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.handlers.cluster import door as door_module
from matrixinfer.handlers.cluster.door import Door
from matrixinfer.handlers.cluster.local.adapter import LocalCluster
from matrixinfer.handlers.errors import BadManifest


async def test_others_are_answered_while_a_large_text_is_read(monkeypatch):
    may_end = threading.Event()

    def reads_for_long(*_: object) -> None:
        has_ended = may_end.wait(timeout=5)
        raise BadManifest(["read to its end" if has_ended else "nobody was answered meanwhile"])

    monkeypatch.setattr(door_module, "parse_manifests", reads_for_long)
    bus = MemoryBroker(SystemClock()).connect()
    door = Door(bus, await LocalCluster.open(bus))
    await door.open()
    client = ClusterClient(bus, timeout_s=20)
    reading = asyncio.create_task(client.apply("large"))
    await asyncio.sleep(0)
    assert await client.list("models") == []
    may_end.set()
    with pytest.raises(Refused, match="read to its end"):
        await reading
    await door.close()
    await bus.link.close()
