"""What the command line may expect of a cluster, by the local cluster's door or by the API server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Protocol

import pytest

from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.cluster_client import Refused, Sighting
from matrixinfer.bus.contracts.cluster import AppliedObject
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.cli.local_objects import LocalObjects
from matrixinfer.handlers.cluster.door import Door
from matrixinfer.handlers.cluster.kubernetes.client import KubernetesClient
from matrixinfer.handlers.cluster.local.adapter import LocalCluster
from support.kube import ControlPlane

MODEL = """
apiVersion: matrixinfer.ai/v1alpha1
kind: Model
metadata: {name: %s, namespace: %s, labels: {tier: %s}}
spec: {backends: [{name: a, type: Simulated, minReplicas: %d}]}
"""


def model(name: str = "m", namespace: str = "default", tier: str = "gold", replicas: int = 1) -> str:
    return MODEL % (name, namespace, tier, replicas)


class Client(Protocol):
    async def apply(self, manifests: str, namespace: str = "default") -> list[AppliedObject]: ...
    async def preview(self, manifests: str, namespace: str = "default") -> list[AppliedObject]: ...
    def watch(self, kind: str, namespace: str = "", name: str = "") -> AsyncGenerator[list[Sighting], None]: ...
    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None: ...
    async def list(self, kind: str, namespace: str = "", labels: Any = None) -> list[dict[str, Any]]: ...
    async def delete(self, kind: str, namespace: str, name: str, uid: str = "") -> bool: ...
    async def set_status(self, kind: str, namespace: str, name: str, uid: str, status: Any) -> dict[str, Any]: ...


@contextlib.asynccontextmanager
async def by_the_door() -> AsyncIterator[Client]:
    bus = MemoryBroker(SystemClock()).connect()
    door = Door(bus, await LocalCluster.open(bus))
    await door.open()
    yield LocalObjects(bus)
    await door.close()


@contextlib.asynccontextmanager
async def by_the_api(plane: ControlPlane) -> AsyncIterator[Client]:
    await asyncio.to_thread(plane.empty)
    client = await KubernetesClient.open(SystemClock(), kubeconfig=str(plane.kubeconfig))
    yield client
    await client.close()


@pytest.fixture(params=["door", pytest.param("kubernetes", marks=pytest.mark.timeout(240))])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    opened = by_the_door() if request.param == "door" else by_the_api(request.getfixturevalue("control_plane"))
    async with opened as found:
        yield found


async def test_applying_says_what_became_of_each_object(client):
    (first,) = await client.apply(model())
    assert first == AppliedObject("Model", "default", "m", "created")
    assert [one.outcome for one in await client.apply(model())] == ["unchanged"]
    assert [one.outcome for one in await client.apply(model(replicas=2))] == ["configured"]
    assert [one.outcome for one in await client.apply(model(replicas=2, tier="tin"))] == ["configured"]
    found = await client.get("models", "default", "m")
    assert found["metadata"]["generation"] == 2
    assert found["spec"]["backends"][0]["minReplicas"] == 2


async def test_nothing_is_applied_when_a_document_is_wrong(client):
    with pytest.raises(Refused) as caught:
        await client.apply(f"{model()}---{model('n').replace('Simulated', 'Imagined')}")
    assert caught.value.code == "invalid"
    assert "Imagined" in caught.value.problems[0]
    assert await client.get("Model", "default", "m") is None


async def test_lists_are_whole_and_ordered_and_name_their_kind(client):
    for name, namespace, tier in (("b", "two", "gold"), ("a", "two", "tin"), ("c", "one", "gold")):
        await client.apply(model(name, namespace, tier))
    names = [(one["metadata"]["namespace"], one["metadata"]["name"]) for one in await client.list("model")]
    assert names == [("one", "c"), ("two", "a"), ("two", "b")]
    (gold,) = await client.list("models", "two", {"tier": "gold"})
    assert (gold["kind"], gold["metadata"]["name"]) == ("Model", "b")


async def test_deleting_means_the_object_with_that_uid(client):
    await client.apply(model())
    with pytest.raises(Refused) as caught:
        await client.delete("models", "default", "m", "another-uid")
    assert caught.value.code == "conflict"
    uid = (await client.get("models", "default", "m"))["metadata"]["uid"]
    assert await client.delete("models", "default", "m", uid) is True
    assert await client.delete("models", "default", "m") is False


async def test_a_status_is_of_one_object_and_leaves_the_rest_alone(client):
    await client.apply(model())
    uid = (await client.get("models", "default", "m"))["metadata"]["uid"]
    told = await client.set_status("models", "default", "m", uid, {"observedGeneration": 1})
    assert told["status"] == {"observedGeneration": 1}
    with pytest.raises(Refused) as caught:
        await client.set_status("models", "default", "m", "another-uid", {})
    assert caught.value.code == "conflict"
    assert (await client.get("models", "default", "m"))["metadata"]["generation"] == 1


async def test_a_kind_that_nobody_knows_is_told_with_those_there_are(client):
    with pytest.raises(Refused, match="expected one of"):
        await client.list("deployments")


async def test_a_preview_says_what_an_apply_would_do_and_does_nothing(client):
    assert [one.outcome for one in await client.preview(model())] == ["created"]
    assert await client.list("models") == []
    await client.apply(model())
    before = await client.get("models", "default", "m")
    assert [one.outcome for one in await client.preview(model())] == ["unchanged"]
    told = await client.preview(model(replicas=2) + "---" + model(tier="tin") + "---" + model("new"))
    assert [(one.name, one.outcome) for one in told] == [("m", "configured"), ("m", "configured"), ("new", "created")]
    assert await client.get("models", "default", "m") == before
    with pytest.raises(Exception, match="minReplicas: expected at least 0"):
        await client.preview(model(replicas=-1))


def names(sightings: list[Sighting]) -> list[tuple[str, bool]]:
    return [(one.manifest["metadata"]["name"], one.is_gone) for one in sightings]


async def test_a_watch_brings_what_is_there_and_then_each_change(client):
    await client.apply(model("b") + "---" + model("a") + "---" + model("c", "one"))
    async with contextlib.aclosing(client.watch("model", "default")) as sightings:
        assert names(await anext(sightings)) == [("a", False), ("b", False)]
        await client.apply(model("elsewhere", "one"))
        await client.apply(model("b", replicas=2))
        (seen,) = await anext(sightings)
        assert seen.manifest["kind"] == "Model"
        assert seen.manifest["metadata"]["generation"] == 2
        assert seen.manifest["spec"]["backends"][0]["minReplicas"] == 2
        await client.delete("models", "default", "b")
        (seen,) = await anext(sightings)
        assert names([seen]) == [("b", True)]
        assert seen.manifest["spec"]["backends"][0]["minReplicas"] == 2, "as it was last seen"


async def test_a_watch_of_one_object_or_of_every_namespace(client):
    async with contextlib.aclosing(client.watch("model", "default", "m")) as sightings:
        assert await anext(sightings) == []
        await client.apply(model("other") + "---" + model("m"))
        assert names(await anext(sightings)) == [("m", False)]
    await client.apply(model("x", "one"))
    async with contextlib.aclosing(client.watch("model")) as sightings:
        assert names(await anext(sightings)) == [("m", False), ("other", False), ("x", False)]
