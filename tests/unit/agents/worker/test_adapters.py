"""What SERVING says a pod shall have is loaded and unloaded while it serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from matrixinfer.agents.engines.errors import AdapterRefused
from matrixinfer.agents.weights.errors import DownloadFailed
from matrixinfer.agents.worker.adapters import AGAIN_AFTER_S, Adapters
from matrixinfer.bus.background import end
from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.serving import PodAdapters, adapters_key
from matrixinfer.bus.memory import MemoryBroker
from support.agent import ME, ScriptedEngine
from support.eventually import eventually


class Loading(ScriptedEngine):
    def __init__(self) -> None:
        super().__init__()
        self.has: dict[str, str] = {}
        self.refused: set[str] = set()

    async def load_adapter(self, name: str, path: str) -> None:
        if name in self.refused:
            raise AdapterRefused("its rank is too large")
        self.has[name] = path

    async def unload_adapter(self, name: str) -> None:
        self.has.pop(name, None)


class Pod:
    """An agent's Adapters that follow a bucket."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.clock = ManualClock()
        self.broker = MemoryBroker(self.clock)
        self.bus = self.broker.connect()
        self.engine = engine
        self.unreachable: set[str] = set()
        self.defects: set[str] = set()
        self.fetched: list[str] = []
        self.told = 0
        self.adapters = Adapters(self.bus, ME, engine, self.fetch, self.tell)

    async def fetch(self, url: str) -> Path:
        self.fetched.append(url)
        if url in self.unreachable:
            raise DownloadFailed(f"{url}: no route")
        if url in self.defects:
            raise RuntimeError(url)
        return Path("/cache") / url.rpartition("/")[2]

    async def tell(self) -> None:
        self.told += 1

    async def want(self, server: str = "pool", **adapters: str) -> None:
        entry = PodAdapters(ME.namespace, server, ME.pod, adapters)
        await self.bus.store("SERVING").put(adapters_key(ME.namespace, server, ME.pod), encode(entry))

    async def forget(self, server: str = "pool") -> None:
        await self.bus.store("SERVING").delete(adapters_key(ME.namespace, server, ME.pod))


@pytest.fixture
async def engine() -> Loading:
    return Loading()


@pytest.fixture
async def pod(engine: Loading) -> AsyncIterator[Pod]:
    pod = Pod(engine)
    await pod.want(one="hf://org/one")
    running = asyncio.create_task(pod.adapters.run())
    try:
        yield pod
        assert not running.done()
    finally:
        await end([running])


async def test_what_is_wanted_is_loaded_and_what_is_not_any_more_unloaded(pod, engine):
    await eventually(lambda: engine.has == {"one": "/cache/one"})
    await pod.want(two="hf://org/two", three="hf://org/three")
    await eventually(lambda: engine.has == {"two": "/cache/two", "three": "/cache/three"})
    await pod.forget()
    await eventually(lambda: not engine.has)
    assert pod.told == 6


async def test_nothing_is_loaded_twice(pod, engine):
    await eventually(lambda: "one" in engine.has)
    await pod.want(one="hf://org/one", two="hf://org/two")
    await eventually(lambda: "two" in engine.has)
    assert pod.fetched == ["hf://org/one", "hf://org/two"]


async def test_an_adapter_of_the_same_name_from_elsewhere_is_another(pod, engine):
    await eventually(lambda: "one" in engine.has)
    await pod.want(one="hf://org/better")
    await eventually(lambda: engine.has == {"one": "/cache/better"})


async def test_one_that_cannot_be_had_keeps_no_other_from_it_and_is_tried_again(pod, engine):
    pod.unreachable = {"hf://org/lost"}
    engine.refused = {"big"}
    await pod.want(lost="hf://org/lost", big="hf://org/big", two="hf://org/two")
    await eventually(lambda: set(engine.has) == {"two"})
    pod.unreachable.clear()
    engine.refused.clear()

    async def all_loaded() -> bool:
        await pod.clock.advance(AGAIN_AFTER_S)
        return set(engine.has) == {"two", "lost", "big"}

    await eventually(all_loaded)


async def test_a_defect_on_the_way_of_one_keeps_no_other_from_it(pod, engine):
    pod.defects.add("file:///odd")
    await pod.want(odd="file:///odd", good="file:///good")
    await eventually(lambda: engine.has == {"good": "/cache/good"})
    pod.defects.clear()
    await pod.want(odd="file:///odd", good="file:///good", more="file:///more")
    await eventually(lambda: engine.has.keys() == {"odd", "good", "more"})


async def test_a_pod_hears_of_its_own_adapters_only(pod, engine):
    other = PodAdapters(ME.namespace, "pool", "pod.0.x", {"theirs": "hf://org/theirs"})
    await pod.bus.store("SERVING").put(adapters_key(ME.namespace, "pool", "pod.0.x"), encode(other))
    await pod.want(one="hf://org/one", two="hf://org/two")
    await eventually(lambda: set(engine.has) == {"one", "two"})


async def test_an_entry_of_another_version_changes_nothing(pod, engine):
    await eventually(lambda: "one" in engine.has)
    await pod.bus.store("SERVING").put(adapters_key(ME.namespace, "pool", ME.pod), b"\xc1")
    await pod.want("second", two="hf://org/two")
    await eventually(lambda: set(engine.has) == {"one", "two"})


async def test_an_engine_that_takes_none_goes_on_serving():
    pod = Pod(ScriptedEngine())
    await pod.want(one="hf://org/one")
    running = asyncio.create_task(pod.adapters.run())
    for _ in range(3):
        await pod.clock.advance(AGAIN_AFTER_S)
    assert not running.done()
    assert not pod.fetched
    await end([running])
