"""The rules that are written down for the chart are enough for the handlers, and not more than that."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.error import HTTPError

import pytest
from kubernetes.aio.config import incluster_config

from matrixinfer.bus.background import end
from matrixinfer.bus.clock import SystemClock
from matrixinfer.handlers.api.meta import owned_by
from matrixinfer.handlers.api.model import Model, ModelStatus
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.cluster.kubernetes.adapter import KubernetesCluster
from matrixinfer.handlers.cluster.kubernetes.errors import Refused
from matrixinfer.handlers.cluster.kubernetes.rbac import cluster_role, rules
from support.kube import ControlPlane

NAME = "handlers"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture
async def handlers(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[KubernetesCluster]:
    """Who is allowed what the rules say, and nothing else."""
    await asyncio.to_thread(control_plane.empty)
    kubeconfig = await asyncio.to_thread(allow, control_plane, tmp_path)
    cluster = await KubernetesCluster.open(SystemClock(), kubeconfig=str(kubeconfig))
    task = asyncio.create_task(cluster.run())
    yield cluster
    await end([task])
    await cluster.close()


def allow(plane: ControlPlane, folder: Path) -> Path:
    with contextlib.suppress(HTTPError):  # a test before has made them
        make_account(plane)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = plane.ask("POST", f"/api/v1/namespaces/default/serviceaccounts/{NAME}/token", request)
    config = json.loads(plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": answer["status"]["token"]}
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def make_account(plane: ControlPlane) -> None:
    plane.ask("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": NAME}})
    plane.ask("POST", f"{RBAC}/clusterroles", cluster_role(NAME))
    binding = {
        "metadata": {"name": NAME},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": "default"}],
    }
    plane.ask("POST", f"{RBAC}/clusterrolebindings", binding)


async def test_the_handlers_may_do_all_that_they_do_and_may_not_read_secrets(handlers, control_plane):
    backend = {"name": "a", "type": "Simulated", "minReplicas": 1}
    model = await handlers.apply(Model.read({"metadata": {"name": "m"}, "spec": {"backends": [backend]}}))
    await handlers.update_status(model.model_copy(update={"status": ModelStatus(observed_generation=1)}))
    pod = Pod.read({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    owned = pod.metadata.model_copy(update={"owner_references": (owned_by(model),)})
    made = await handlers.apply(pod.model_copy(update={"metadata": owned}))
    for _ in range(2):
        await handlers.record(model, "Scaled", "from 0 to 1")
    told = await asyncio.to_thread(control_plane.ask, "GET", "/api/v1/namespaces/default/events")
    assert [event["count"] for event in told["items"] if event["reason"] == "Scaled"] == [2]
    assert await handlers.reaches(Pod, made.metadata.resource_version, 10.0)
    assert await handlers.delete(Pod, "default", "p", uid=made.metadata.uid)
    assert await handlers.delete(Model, "default", "m", uid=model.metadata.uid)
    with pytest.raises(Refused) as caught:
        await handlers.connection.call("GET", "/api/v1/secrets")
    assert caught.value.status == 403


async def test_a_pod_of_the_cluster_uses_its_service_account(handlers, control_plane, tmp_path, monkeypatch):
    config = json.loads((tmp_path / "kubeconfig").read_text())
    (tmp_path / "token").write_text(config["users"][0]["user"]["token"])
    authority = config["clusters"][0]["cluster"]["certificate-authority"]
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(control_plane.port))
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", authority)
    pod = await KubernetesCluster.open(SystemClock())
    assert pod.list(Model) == []
    with pytest.raises(Refused, match="system:serviceaccount:default:handlers"):
        await pod.connection.call("GET", "/api/v1/secrets")
    await pod.close()


def test_no_rule_is_about_secrets_or_everything():
    named = {word for rule in rules() for word in (*rule.groups, *rule.resources, *rule.verbs)}
    assert "*" not in named
    assert "secrets" not in named
