"""The agent process: from settings to a pod that answers, and out again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from matrixinfer.agents import main
from matrixinfer.agents.engines.errors import BadConfig
from matrixinfer.agents.engines.port import EngineInfo
from matrixinfer.agents.errors import NoSlots
from matrixinfer.agents.progress import MIB, Progress
from matrixinfer.agents.settings import AgentSettings
from matrixinfer.bus.bus import Bus
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.load import LoadEvent
from matrixinfer.bus.errors import Misconfigured
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.bus.ports import Signal
from support.agent import ScriptedEngine
from support.eventually import eventually


class Started:
    """A bus, and the load events heard on it."""

    def __init__(self) -> None:
        self.bus: Bus = MemoryBroker(SystemClock()).connect()
        self.events: list[LoadEvent] = []
        self.stop = asyncio.Event()

    async def listen(self) -> None:
        await self.bus.signals.subscribe(self.bus.subjects.load_filter(), self._hear)

    async def _hear(self, signal: Signal) -> None:
        self.events.append(decode(signal.data, LoadEvent))


@pytest.fixture
async def started() -> Started:
    started = Started()
    await started.listen()
    return started


def simulated(**config: object) -> AgentSettings:
    return AgentSettings(namespace="ns", pod="p", engine="Simulated", served_model="m", engine_config=dict(config))


async def test_the_process_serves_until_it_is_stopped(started: Started) -> None:
    serving = asyncio.create_task(main.serve(simulated(slots=3), started.bus, started.stop))
    first = await eventually(lambda: started.events and started.events[0])
    assert (first.namespace, first.pod, first.sequence, first.draining) == ("ns", "p", 1, False)
    assert first.snapshot is not None
    assert first.snapshot.slots == 3
    started.stop.set()
    await serving
    await eventually(lambda: started.events[-1].draining)


async def test_every_life_of_a_pod_has_its_own_boot(started: Started) -> None:
    for life in range(2):
        stop = asyncio.Event()
        serving = asyncio.create_task(main.serve(simulated(), started.bus, stop))
        await eventually(lambda life=life: len({event.boot for event in started.events}) == life + 1)
        stop.set()
        await serving
    assert len({event.boot for event in started.events}) == 2


async def test_a_stop_during_a_long_start_ends_the_process_at_once_and_silently(started: Started) -> None:
    started.stop.set()
    await main.serve(simulated(time_to_load_s=3600.0), started.bus, started.stop)
    assert started.events == []


async def test_a_bad_configuration_ends_the_process_with_its_error(started: Started) -> None:
    with pytest.raises(BadConfig, match="colour"):
        await main.serve(simulated(colour="red"), started.bus, started.stop)


async def test_an_engine_without_slots_is_closed_and_refused(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScriptedEngine()
    engine.info = EngineInfo("Scripted", "m", slots=0)
    monkeypatch.setattr("matrixinfer.agents.engines.registry.create", lambda *_: engine)
    with pytest.raises(NoSlots, match="Scripted offers 0 slots"):
        await main.serve(simulated(), started.bus, started.stop)
    assert engine.is_closed


async def test_the_weights_are_fetched_before_the_engine_is_made(
    started: Started, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[object, ...]] = []

    async def fetch(uri: str, cache_dir: Path, progress: Callable[[int, int], None]) -> Path:
        progress(5, 10)
        asked.append((uri, cache_dir))
        return tmp_path / "weights.gguf"

    def create(*arguments: object) -> ScriptedEngine:
        asked.append(arguments)
        return ScriptedEngine()

    monkeypatch.setattr(main, "fetch", fetch)
    monkeypatch.setattr("matrixinfer.agents.engines.registry.create", create)
    settings = AgentSettings(pod="p", engine="X", model_uri="https://h/a/b.gguf", cache_dir=tmp_path)
    serving = asyncio.create_task(main.serve(settings, started.bus, started.stop))
    await eventually(lambda: started.events)
    started.stop.set()
    await serving
    assert asked == [("https://h/a/b.gguf", tmp_path), ("X", str(tmp_path / "weights.gguf"), "b.gguf", {})]


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATRIXINFER_AGENT_POD", "p-0")
    monkeypatch.setenv("MATRIXINFER_AGENT_ENGINE_CONFIG", '{"slots": 2}')
    monkeypatch.setenv("MATRIXINFER_AGENT_CACHE_DIR", "~/weights")
    settings = AgentSettings()
    assert (settings.pod, settings.engine_config) == ("p-0", {"slots": 2})
    assert settings.cache_dir == Path.home() / "weights"


def test_without_a_home_for_weights_the_default_is_in_the_users_cache() -> None:
    assert AgentSettings().cache_dir == Path.home() / ".cache/matrixinfer/weights"


def test_a_pod_without_a_name_is_refused() -> None:
    with pytest.raises(Misconfigured, match="pod: expected"):
        AgentSettings(pod="")


def test_progress_is_logged_in_tenths_and_in_steps_where_the_size_is_unknown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "matrixinfer.agents.progress")
    known, unknown = Progress("w"), Progress("u")
    for done in range(0, 1001, 3):
        known(done * MIB, 1000 * MIB)
        unknown(done * MIB, 0)
    assert len([m for m in caplog.messages if m.startswith("w: ")]) == 9
    assert [m for m in caplog.messages if m.startswith("u: ")] == ["u: 258 MiB", "u: 513 MiB", "u: 768 MiB"]
