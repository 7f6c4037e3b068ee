"""What an Event says, and who may write how many."""

from __future__ import annotations

from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.handlers.api.event import Event
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.cluster.events import MOST_MESSAGE, TTL_S, Budget, again, event_about
from matrixinfer.handlers.cluster.local.adapter import LocalCluster
from matrixinfer.handlers.cluster.local.recorder import Recorder


def model(name: str = "m", uid: str = "u") -> Model:
    return Model.read(
        {
            "metadata": {"name": name, "namespace": "default", "uid": uid},
            "spec": {"backends": [{"name": "a", "type": "Simulated", "minReplicas": 1}]},
        }
    )


def told(message: str = "x", *, uid: str = "u", name: str = "m", now: float = 0.0) -> Event:
    return event_about(model(name, uid), "Scaled", message, is_warning=False, now=now)


def test_what_says_the_same_has_the_same_name_whenever_it_is_said():
    assert told(now=0.0).metadata.name == told(now=99.0).metadata.name
    assert len({told().metadata.name, told("y").metadata.name, told(uid="v").metadata.name}) == 3


def test_long_names_and_messages_still_make_an_event_that_kubernetes_takes():
    long = model().metadata.model_copy(update={"name": "n" * 253})
    about = model().model_copy(update={"metadata": long})
    event = event_about(about, "Scaled", "word " * 1000, is_warning=False, now=0.0)
    assert len(event.message) == MOST_MESSAGE
    assert len(event.metadata.name) <= 253
    assert Event.read(event.to_json()) == event


def test_an_event_that_happens_again_keeps_its_first_time():
    counted = again(told(now=10.0), told(now=70.0))
    assert counted.count == 2
    assert counted.first_timestamp == told(now=10.0).first_timestamp
    assert counted.last_timestamp == told(now=70.0).last_timestamp


def test_a_budget_is_each_objects_own_and_fills_again():
    budget = Budget(burst=2, refill_s=10.0)
    assert [budget.allows("a", 0.0) for _ in range(3)] == [True, True, False]
    assert budget.allows("b", 0.0)
    assert not budget.allows("a", 9.0)
    assert budget.allows("a", 10.0)
    assert not budget.allows("a", 10.0)


async def test_events_of_the_local_cluster_end_with_their_time():
    clock = ManualClock()
    bus = MemoryBroker(clock).connect()
    cluster = await LocalCluster.open(bus)
    await cluster.record(model(), "Scaled", "once")
    assert len(await bus.store("OBJECTS").entries("Event")) == 1
    await clock.advance(TTL_S + 1)
    assert await bus.store("OBJECTS").entries("Event") == {}


async def test_the_oldest_events_make_room_for_new_ones():
    clock = ManualClock()
    bus = MemoryBroker(clock).connect()
    cluster = await LocalCluster.open(bus)
    recorder = Recorder(bus, cluster.cache, lambda: "uid", most_events=3)
    for number in range(6):
        await clock.advance(1.0)
        await recorder.record(told(str(number), uid=f"u{number}", now=clock.now()))
        cluster.cache.load(await bus.store("OBJECTS").entries("Event"))
    left = [entry.value.decode() for entry in (await bus.store("OBJECTS").entries("Event")).values()]
    assert len(left) <= 4
    assert any('"message":"5"' in event for event in left)
