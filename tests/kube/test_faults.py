"""What the cluster promises while the API server forgets, dies, and is cut off."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from matrixinfer.bus.background import end
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.errors import Unavailable
from matrixinfer.handlers.api.model import Model, ModelStatus
from matrixinfer.handlers.cluster.kubernetes.adapter import KubernetesCluster
from matrixinfer.handlers.cluster.port import ObjectChange
from support.eventually import eventually
from support.kube import ControlPlane
from support.wire import Wire

MODELS = "/apis/matrixinfer.ai/v1alpha1/namespaces/default/models"


def model(name: str, replicas: int = 1) -> Model:
    backend = {"name": "a", "type": "Simulated", "minReplicas": replicas}
    return Model.read({"metadata": {"name": name, "namespace": "default"}, "spec": {"backends": [backend]}})


@contextlib.asynccontextmanager
async def running(cluster: KubernetesCluster) -> AsyncIterator[None]:
    task = asyncio.create_task(cluster.run())
    try:
        yield
        assert not task.done()
    finally:
        await end([task])
        await cluster.close()


@pytest.fixture
async def plane(control_plane: ControlPlane) -> ControlPlane:
    """Without any object of a test before."""
    await asyncio.to_thread(control_plane.empty)
    return control_plane


@pytest.fixture
async def cluster(plane: ControlPlane) -> AsyncIterator[KubernetesCluster]:
    """Read once; it hears of nothing until it is `running`."""
    opened = await KubernetesCluster.open(SystemClock(), kubeconfig=str(plane.kubeconfig))
    yield opened
    await opened.close()


async def ask(plane: ControlPlane, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    return await asyncio.to_thread(plane.ask, method, path, body)


async def test_a_status_is_written_though_the_version_that_was_seen_is_an_old_one(plane, cluster):
    first = await cluster.apply(model("m"))
    other = await KubernetesCluster.open(SystemClock(), kubeconfig=str(plane.kubeconfig))
    await other.apply(model("m", replicas=2))
    await other.close()
    told = await cluster.update_status(first.model_copy(update={"status": ModelStatus(observed_generation=1)}))
    assert told.status.observed_generation == 1
    assert told.spec.backends[0].min_replicas == 2
    assert told.metadata.generation == 2


async def test_after_the_server_forgot_the_past_the_differences_come_as_changes(plane, cluster):
    kept, gone = await cluster.apply(model("kept")), await cluster.apply(model("gone"))
    await ask(plane, "DELETE", f"{MODELS}/gone")
    await ask(plane, "POST", MODELS, model("new").to_json())
    await asyncio.to_thread(plane.forget_the_past)
    await asyncio.to_thread(plane.restart_servers)
    changes = cluster.watch([Model])
    assert sorted([(await anext(changes)).after.metadata.name for _ in range(2)]) == ["gone", "kept"]
    lists = cluster.connection.requests["GET"]
    async with running(cluster), asyncio.timeout(30):
        told = [await anext(changes) for _ in range(2)]
    assert ObjectChange(gone, None) in told
    (came,) = [change.after for change in told if change.before is None]
    assert came.metadata.name == "new"
    assert cluster.get(Model, "default", "kept") == kept
    assert cluster.connection.requests["GET"] > lists, "it was listed again, because the server had forgotten"


async def test_while_the_server_is_down_reads_go_on_and_writes_say_so_and_afterwards_nothing_is_missed(plane, cluster):
    first = await cluster.apply(model("m"))
    async with running(cluster):
        assert await cluster.reaches(Model, first.metadata.resource_version, 10.0)
        plane.kill("kube-apiserver")
        assert cluster.get(Model, "default", "m") == first
        with pytest.raises(Unavailable):
            await cluster.apply(model("m", replicas=2))
        await cluster.record(first, "Told", "nobody hears this, and nothing breaks")
        await asyncio.to_thread(plane.restart_servers)
        await ask(plane, "DELETE", f"{MODELS}/m")
        await eventually(lambda: cluster.get(Model, "default", "m") is None, timeout_s=30.0)
        assert (await cluster.apply(model("m", replicas=2))).metadata.uid != first.metadata.uid


async def test_a_watch_that_was_cut_goes_on_where_it_was_without_a_new_list(plane):
    wire = Wire(plane.port)
    await wire.mend()
    through = str(plane.kubeconfig_through(wire.port))
    cluster = await KubernetesCluster.open(SystemClock(), kubeconfig=through)
    async with running(cluster):
        first = await cluster.apply(model("m"))
        assert await cluster.reaches(Model, first.metadata.resource_version, 10.0)
        lists = cluster.connection.requests["GET"]
        await wire.cut()
        await ask(plane, "POST", MODELS, model("meanwhile").to_json())
        await ask(plane, "DELETE", f"{MODELS}/m")
        assert cluster.get(Model, "default", "m") == first
        await wire.mend()
        await eventually(lambda: cluster.get(Model, "default", "m") is None, timeout_s=30.0)
        assert [found.metadata.name for found in cluster.list(Model)] == ["meanwhile"]
        assert cluster.connection.requests["GET"] == lists
    await wire.cut()


async def test_a_quiet_cluster_is_sent_no_requests(plane, cluster):
    async with running(cluster):
        await eventually(lambda: cluster.connection.requests["WATCH"] >= 5)
        before = dict(cluster.connection.requests)
        applied = await cluster.apply(model("m"))
        assert await cluster.reaches(Model, applied.metadata.resource_version, 10.0)
        for _ in range(100):
            cluster.list(Model)
        assert dict(cluster.connection.requests) == before | {"PATCH": before.get("PATCH", 0) + 1}
