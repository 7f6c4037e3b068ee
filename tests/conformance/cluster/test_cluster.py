"""What every cluster promises to the reconcilers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from matrixinfer.handlers.api.conditions import condition
from matrixinfer.handlers.api.event import Event
from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.api.meta import Resource, owned_by
from matrixinfer.handlers.api.model import Model, ModelStatus
from matrixinfer.handlers.api.modelserver import ModelServer
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.cluster.port import ObjectChange
from matrixinfer.handlers.errors import Conflicted, NotFound
from support.eventually import eventually

NS = "default"


def model(name: str = "m", *, namespace: str = NS, replicas: int = 1, **labels: str) -> Model:
    return Model.read(
        {
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {"backends": [{"name": "a", "type": "Simulated", "minReplicas": replicas}]},
        }
    )


def pod(name: str = "p", command: str = "true", owner: Resource | None = None) -> Pod:
    made = Pod.read(
        {
            "metadata": {"name": name, "namespace": NS, "labels": {"app": "x"}},
            "spec": {"containers": [{"name": "c", "image": "i", "command": [command]}]},
        }
    )
    if owner is None:
        return made
    return made.model_copy(
        update={"metadata": made.metadata.model_copy(update={"owner_references": (owned_by(owner),)})}
    )


def with_spec_of(resource: Model, other: Model) -> Model:
    return resource.model_copy(update={"spec": other.spec})


async def test_an_applied_object_gets_what_only_the_cluster_can_give(playground):
    applied = await playground.here.apply(model())
    assert applied.metadata.uid
    assert applied.metadata.generation == 1
    assert applied.metadata.resource_version
    assert applied.metadata.creation_timestamp is not None
    assert applied.spec == model().spec


async def test_a_writer_reads_its_own_write_at_once_and_others_read_it_soon(playground):
    applied = await playground.here.apply(model())
    assert playground.here.get(Model, NS, "m") == applied
    await eventually(lambda: playground.there.get(Model, NS, "m") == applied)


async def test_what_is_not_there_is_none(playground):
    assert playground.here.get(Model, NS, "nobody") is None
    assert playground.here.list(Model) == []


async def test_applying_the_same_again_changes_nothing(playground):
    first = await playground.here.apply(model(tier="gold"))
    assert await playground.here.apply(model(tier="gold")) == first


async def test_a_changed_spec_raises_the_generation_and_keeps_the_identity(playground):
    first = await playground.here.apply(model(replicas=1))
    second = await playground.here.apply(model(replicas=2))
    assert second.metadata.generation == 2
    assert second.metadata.uid == first.metadata.uid
    assert second.metadata.creation_timestamp == first.metadata.creation_timestamp
    assert second.spec.backends[0].min_replicas == 2


async def test_a_changed_label_does_not_raise_the_generation(playground):
    await playground.here.apply(model(tier="gold", zone="a"))
    second = await playground.here.apply(model(tier="silver"))
    assert second.metadata.labels == {"tier": "silver"}
    assert second.metadata.generation == 1


async def test_apply_leaves_the_status_and_status_leaves_the_spec(playground):
    first = await playground.here.apply(model())
    status = ModelStatus(observed_generation=1, conditions=(condition("Available", True, "Serving"),))
    stale_spec = with_spec_of(first, model(replicas=9)).model_copy(update={"status": status})
    await playground.here.update_status(stale_spec)
    second = await playground.here.apply(model(replicas=2))
    assert second.status == status
    assert second.spec.backends[0].min_replicas == 2
    assert second.metadata.generation == 2


async def test_writing_the_same_status_again_changes_nothing(playground):
    first = await playground.here.apply(model())
    told = first.model_copy(update={"status": ModelStatus(observed_generation=1)})
    once = await playground.here.update_status(told)
    assert await playground.here.update_status(told) == once
    assert once.metadata.resource_version != first.metadata.resource_version


async def test_the_status_of_what_is_gone_cannot_be_written(playground):
    first = await playground.here.apply(model())
    await playground.here.delete(Model, NS, "m")
    with pytest.raises(NotFound, match="default/m"):
        await playground.here.update_status(first)


async def test_an_object_that_was_made_anew_is_another_one(playground):
    first = await playground.here.apply(model())
    await playground.here.delete(Model, NS, "m")
    second = await playground.here.apply(model())
    assert second.metadata.uid != first.metadata.uid
    with pytest.raises(Conflicted):
        await playground.here.update_status(first)
    with pytest.raises(Conflicted):
        await playground.here.apply(first)
    with pytest.raises(Conflicted):
        await playground.here.delete(Model, NS, "m", uid=first.metadata.uid)
    assert playground.here.get(Model, NS, "m") == second


async def test_deleting_what_is_not_there_says_so(playground):
    await playground.here.apply(model())
    assert await playground.here.delete(Model, NS, "m") is True
    assert playground.here.get(Model, NS, "m") is None
    assert await playground.here.delete(Model, NS, "m") is False


async def test_lists_are_by_kind_namespace_and_labels(playground):
    for name, namespace, tier in (
        ("b", "one", "gold"),
        ("a", "one", "gold"),
        ("c", "one", "tin"),
        ("a", "two", "gold"),
    ):
        await playground.here.apply(model(name, namespace=namespace, tier=tier))
    await playground.here.apply(pod())

    def names(**wanted: str) -> list[str]:
        found = playground.here.list(Model, wanted.pop("namespace", None), wanted)
        return sorted(f"{one.metadata.namespace}/{one.metadata.name}" for one in found)

    assert names() == ["one/a", "one/b", "one/c", "two/a"]
    assert names(namespace="one") == ["one/a", "one/b", "one/c"]
    assert names(namespace="one", tier="gold") == ["one/a", "one/b"]
    assert names(tier="gold", zone="a") == []


async def test_writers_at_once_do_not_lose_each_others_part(playground):
    first = await playground.here.apply(model())
    status = ModelStatus(observed_generation=7)
    await asyncio.gather(
        playground.here.apply(model(replicas=5)),
        playground.there.update_status(first.model_copy(update={"status": status})),
    )
    final = await eventually(lambda: settled(playground.here.get(Model, NS, "m")))
    assert final.status == status
    assert final.spec.backends[0].min_replicas == 5


def settled(found: Model | None) -> Model | None:
    return found if found is not None and found.status.observed_generation == 7 else None


async def test_a_pod_that_nobody_runs_goes_at_once(playground):
    await playground.here.apply(pod())
    await playground.here.delete(Pod, NS, "p")
    assert playground.here.get(Pod, NS, "p") is None


async def test_a_pod_that_runs_is_only_marked_until_it_has_ended(playground):
    await playground.here.apply(pod())
    await playground.claim(NS, "p")
    assert await playground.here.delete(Pod, NS, "p") is True
    marked = playground.here.get(Pod, NS, "p")
    assert marked.is_terminating
    assert marked.metadata.deletion_grace_period_seconds == 30
    assert await playground.here.delete(Pod, NS, "p") is True
    assert playground.here.get(Pod, NS, "p") == marked
    with pytest.raises(Conflicted, match="being deleted"):
        await playground.here.apply(pod())
    await playground.ended(NS, "p")
    await eventually(lambda: playground.here.get(Pod, NS, "p") is None)


async def test_the_spec_of_a_pod_cannot_change_and_its_node_stays(playground):
    await playground.here.apply(pod())
    await playground.claim(NS, "p")
    again = await playground.here.apply(pod())
    assert again.spec.node_name == "local"
    with pytest.raises(Conflicted, match="cannot change"):
        await playground.here.apply(pod(command="false"))


async def test_what_is_owned_goes_after_its_owner(playground):
    owner = await playground.here.apply(model())
    await playground.here.apply(pod("child", owner=owner))
    await playground.here.apply(pod("free"))
    await playground.here.delete(Model, NS, "m")
    await eventually(lambda: playground.here.get(Pod, NS, "child") is None)
    assert playground.here.get(Pod, NS, "free") is not None


async def test_what_was_owned_by_a_namesake_goes_too(playground):
    former = await playground.here.apply(model())
    await playground.here.delete(Model, NS, "m")
    current = await playground.here.apply(model())
    await playground.here.apply(pod("late", owner=former))
    await playground.here.apply(pod("mine", owner=current))
    await eventually(lambda: playground.here.get(Pod, NS, "late") is None)
    assert playground.here.get(Pod, NS, "mine") is not None


async def test_a_watch_begins_with_what_is_there_and_tells_each_change_once(playground):
    first = await playground.here.apply(model())
    changes = playground.here.watch([Model])
    assert await following(changes) == ObjectChange(None, first)
    second = await playground.here.apply(model(replicas=2))
    assert await following(changes) == ObjectChange(first, second)
    await playground.here.apply(pod())
    await playground.here.delete(Model, NS, "m")
    assert await following(changes) == ObjectChange(second, None)
    third = await playground.here.apply(model())
    assert await following(changes) == ObjectChange(None, third)


async def test_a_watch_hears_of_other_processes(playground):
    changes = playground.there.watch([Model, ModelServer])
    applied = await playground.here.apply(model())
    assert await following(changes) == ObjectChange(None, applied)
    await playground.here.delete(Model, NS, "m")
    assert await following(changes) == ObjectChange(applied, None)


async def test_a_process_waits_until_it_has_seen_what_another_wrote(playground):
    applied = await playground.here.apply(model())
    assert await playground.there.reaches(Model, applied.metadata.resource_version, 5.0)
    assert playground.there.get(Model, NS, "m") == applied
    changed = await playground.here.apply(model(replicas=2))
    reached, _ = await asyncio.gather(
        playground.there.reaches(Model, changed.metadata.resource_version, 5.0),
        playground.here.apply(model(replicas=3)),
    )
    assert reached
    assert playground.there.get(Model, NS, "m").metadata.generation >= 2


async def test_a_version_that_nobody_wrote_is_not_reached(playground):
    applied = await playground.here.apply(model())
    later = str(int(applied.metadata.resource_version) + 1_000_000)
    assert not await playground.here.reaches(Model, later, 0.05)


async def test_the_kinds_of_the_platform_and_pods_are_served(playground):
    assert playground.here.serves(Model)
    assert playground.here.serves(Pod)


async def test_what_is_told_again_is_counted_and_not_repeated(playground):
    applied = await playground.here.apply(model())
    await playground.here.record(applied, "Scaled", "from 1 to 2 replicas")
    for cluster in (playground.here, playground.there):
        await cluster.record(applied, "NoRoom", "no node has 8 GPUs", is_warning=True)
    told = await eventually(lambda: all_told(playground, 2))
    scaled, no_room = sorted(told, key=lambda event: event.count)
    assert (scaled.type, scaled.reason, scaled.count) == ("Normal", "Scaled", 1)
    assert (no_room.type, no_room.message, no_room.count) == ("Warning", "no node has 8 GPUs", 2)
    assert no_room.involved_object.uid == applied.metadata.uid
    assert no_room.involved_object.kind == "Model"


async def all_told(playground, at_least: int) -> list[Event]:
    """The Events, once one of them was counted twice."""
    events = await playground.events(NS)
    return events if len(events) >= at_least and max(event.count for event in events) > 1 else []


async def test_an_object_that_tells_too_much_is_not_listened_to_for_ever(playground):
    applied = await playground.here.apply(model())
    for number in range(40):
        await playground.here.record(applied, "Scaled", f"the {number}th time")
    told = await eventually(lambda: playground.events(NS))
    assert 1 <= len(told) < 40


async def following(changes: AsyncIterator[ObjectChange]) -> ObjectChange:
    async with asyncio.timeout(5):
        return await anext(changes)


async def test_what_a_person_wrote_survives_the_cluster(playground):
    text = """
    apiVersion: matrixinfer.ai/v1alpha1
    kind: ModelServer
    metadata: {name: pool.v1}
    spec: {inferenceEngine: Simulated, workloadSelector: {matchLabels: {app: x}}}
    """
    (written,) = parse_manifests(text)
    applied = await playground.here.apply(written)
    assert applied.to_json()["spec"] == written.to_json()["spec"]
    assert playground.here.get(ModelServer, NS, "pool.v1") == applied
