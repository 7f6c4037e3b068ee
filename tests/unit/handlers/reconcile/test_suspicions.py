"""What dispatchers suspect of caches becomes a condition of the ModelServer, and nothing else is reconciled for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.dispatch import CacheSuspicion, CacheSuspicions, suspicions_key
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.handlers.api.conditions import find
from matrixinfer.handlers.api.meta import Condition
from matrixinfer.handlers.api.modelserver import ModelServer
from matrixinfer.handlers.reconcile.suspicions import SuspicionWatch
from matrixinfer.handlers.reconcile.triggers import Key
from support.resource_world import World

MANIFESTS = """
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelServer
metadata: {name: pool}
spec: {model: real, inferenceEngine: Simulated, workloadSelector: {matchLabels: {app: x}}}
---
apiVersion: v1
kind: Pod
metadata: {name: p1, labels: {app: x}}
spec: {containers: [{name: c}]}
"""
POOL = Key("ModelServer", "default", "pool")


def suspicion(pod: str, reported_tokens: float = 0.0) -> CacheSuspicion:
    return CacheSuspicion(pod, "boot", 512.0, reported_tokens)


@pytest.fixture
def world() -> World:
    world = World()
    world.write(MANIFESTS)
    world.settle()
    return world


def trusted(world: World) -> Condition | None:
    return find(world.one(ModelServer, "pool").status.conditions, "CacheIndexTrusted")


def test_a_suspected_pod_is_named_with_what_to_do_until_it_is_not_suspected_any_more(world: World) -> None:
    assert trusted(world).status == "True"
    world.suspicions = [suspicion("p1", 12.0)]
    world.settle()
    found = trusted(world)
    assert (found.status, found.reason) == ("False", "CachesContradict")
    assert "1 pod: p1 (predicted 512 cached tokens a request, reported 12)" in found.message
    assert "tokenizer" in found.message
    world.suspicions = []
    world.settle()
    assert trusted(world).status == "True"


def test_as_long_as_nothing_is_known_the_condition_stays_as_it_was(world: World) -> None:
    world.suspicions = [suspicion("p1")]
    world.settle()
    before = trusted(world)
    world.now += 60
    world.suspicions = None
    world.settle()
    assert trusted(world) == before


def test_a_new_pool_of_which_nothing_is_known_says_nothing() -> None:
    world = World()
    world.suspicions = None
    world.write(MANIFESTS)
    world.settle()
    assert trusted(world) is None


def test_a_pod_that_is_not_in_the_pool_any_more_does_not_count(world: World) -> None:
    world.suspicions = [suspicion("former")]
    world.settle()
    assert trusted(world).status == "True"


class Watched:
    """A SuspicionWatch on a memory bus, and what it says."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bus = MemoryBroker(self.clock).connect()
        self.changes: list[tuple[Key, str]] = []
        self.times_known = 0
        self.watch = SuspicionWatch(self.bus, lambda *change: self.changes.append(change), self._on_known)

    def _on_known(self) -> None:
        self.times_known += 1

    async def note(self, shard: int, *pods: str, modelserver: str = "pool", reported_tokens: float = 0.0) -> None:
        noted = CacheSuspicions(1, [suspicion(pod, reported_tokens) for pod in pods])
        await self.bus.store("REIGNS").put(suspicions_key("default", modelserver, shard), encode(noted))
        await self.clock.advance(0)

    def pods(self) -> list[str]:
        return [one.pod for one in self.watch.of("default", "pool") or []]


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    watched = Watched()
    await watched.note(0, "before")
    assert watched.watch.of("default", "pool") is None
    task = asyncio.create_task(watched.watch.run())
    await watched.clock.advance(0)
    yield watched
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


async def test_what_is_there_already_is_known_at_once(watched: Watched) -> None:
    assert watched.pods() == ["before"]
    assert (watched.times_known, watched.changes) == (1, [])


async def test_the_shards_of_a_pool_are_taken_together(watched: Watched) -> None:
    await watched.note(1, "b", "a")
    await watched.note(0, "b")
    assert watched.pods() == ["a", "b"]
    await watched.bus.store("REIGNS").delete(suspicions_key("default", "pool", 1))
    await watched.clock.advance(0)
    assert watched.pods() == ["b"]
    assert {key for key, _ in watched.changes} == {POOL}


async def test_a_pool_is_looked_at_only_when_something_else_is_suspected_and_every_time_then(watched: Watched) -> None:
    for _ in range(3):
        await watched.note(0, "before")
    assert watched.changes == []
    for _ in range(2):
        await watched.bus.store("REIGNS").delete(suspicions_key("default", "pool", 0))
        await watched.note(0, "before")
    causes = [cause for _, cause in watched.changes]
    assert len(causes) == len(set(causes)) == 4, "equal ones would be taken for copies of one message"


async def test_what_cannot_be_read_is_left_out(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    await watched.bus.store("REIGNS").put(suspicions_key("default", "pool", 1), b"\xc1")
    await watched.bus.store("REIGNS").put("suspicions.pool", b"")
    await watched.note(0, "after")
    assert watched.pods() == ["after"]
    assert len([message for message in caplog.messages if "is left out" in message]) == 2
