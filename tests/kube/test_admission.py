"""The webhooks on a real API server: it asks, it is answered, it trusts the certificate that we made, and the next."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import json
import re
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from matrixinfer.bus.background import end
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.bus.server.record import free_port
from matrixinfer.bus.settings import BusSettings
from matrixinfer.handlers.admission.authority import Keyset, made, renewed
from matrixinfer.handlers.admission.configurations import COLLECTIONS, Wanted, configurations
from matrixinfer.handlers.admission.main import run
from matrixinfer.handlers.admission.own_certificate import keyset_of, secret_data
from matrixinfer.handlers.admission.settings import AdmissionSettings
from matrixinfer.handlers.cluster.kubernetes.rbac import admission_role, admission_rules, cluster_role
from matrixinfer.handlers.main import serve
from matrixinfer.handlers.settings import HandlersSettings
from support.eventually import eventually
from support.kube import ControlPlane
from support.rule_cases import cases

NAMESPACE, SECRET, ACCOUNT = "one", "admission-cert", "webhooks"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
MODELS = "/apis/matrixinfer.ai/v1alpha1/namespaces/default/models"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
DAY = 86_400.0
APPLIES = re.compile(r"^apiserver_request_total\{(.*verb=\"APPLY\".*)\} (\d+)$", re.MULTILINE)


def model(name: str, **backend: Any) -> dict[str, Any]:
    backends = [{"name": "a", "type": "Simulated"} | backend]
    return {"apiVersion": "matrixinfer.ai/v1alpha1", "kind": "Model", "metadata": {"name": name}, "spec": {
        "backends": backends}}  # fmt: skip


class Webhooks:
    """Replicas of the handlers' role, allowed what the rules say, and what the API server knows of them."""

    def __init__(self, plane: ControlPlane, kubeconfig: Path) -> None:
        self.plane = plane
        self._kubeconfig = kubeconfig
        self.port = free_port()

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return await asyncio.to_thread(self.plane.ask, method, path, body)

    async def refused(self, method: str, path: str, body: dict[str, Any]) -> str:
        with pytest.raises(HTTPError) as caught:
            await self.ask(method, path, body)
        message: str = json.loads(caught.value.read())["message"]
        return message

    async def configure(self, failure_policy: str = "Fail") -> None:
        url = f"https://127.0.0.1:{self.port}"
        for path, one in zip(
            COLLECTIONS, configurations(Wanted(url=url, failure_policy=failure_policy, timeout_s=10)), strict=True
        ):
            await self.ask("POST", path, one)

    @contextlib.asynccontextmanager
    async def replica(self, port: int | None = None) -> AsyncIterator[asyncio.Task[None]]:
        stop, ports = asyncio.Event(), asyncio.Queue[int]()
        settings = AdmissionSettings(
            host="127.0.0.1",
            port=self.port if port is None else port,
            secret=SECRET,
            namespace=NAMESPACE,
            names=("127.0.0.1",),
            linger_s=0.0,
        )
        task = asyncio.create_task(
            run(settings, SystemClock(), stop, kubeconfig=str(self._kubeconfig), on_listening=ports.put_nowait)
        )
        try:
            told = asyncio.create_task(ports.get())
            await asyncio.wait([told, task], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            yield task
            stop.set()
            await task
        finally:
            await end([task])

    async def keyset(self) -> Keyset:
        return keyset_of(await self.ask("GET", f"{SECRETS}/{SECRET}"))

    async def put(self, keyset: Keyset) -> None:
        """As another replica would."""
        body = await self.ask("GET", f"{SECRETS}/{SECRET}")
        await self.ask("PUT", f"{SECRETS}/{SECRET}", body | {"data": secret_data(keyset)})

    async def are_trusted(self) -> bool:
        """Both configurations name the authority that the Secret holds."""
        try:
            wanted = base64.b64encode((await self.keyset()).bundle).decode()
        except HTTPError:
            return False
        found = [await self.ask("GET", f"{path}/matrixinfer") for path in COLLECTIONS]
        return all(one["webhooks"][0]["clientConfig"].get("caBundle") == wanted for one in found)

    async def serves(self, keyset: Keyset, port: int) -> bool:
        served = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
        return served.strip() == keyset.certificate.decode().strip()

    async def refuse_bad_objects(self) -> bool:
        """A configuration that was just made reaches the API server's own cache a moment later."""
        with contextlib.suppress(HTTPError):
            await self.ask("POST", f"{MODELS}?dryRun=All", model("probe", minReplicas=3000))
            return False
        return "expected at most 2000 pods" in await self.refused(
            "POST", f"{MODELS}?dryRun=All", model("probe", minReplicas=3000)
        )


def allow(plane: ControlPlane, folder: Path) -> Path:
    """A kubeconfig of who is allowed what the rules say, and nothing else."""
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "default"}
    group = "rbac.authorization.k8s.io"
    with contextlib.suppress(HTTPError):  # a test before has made them
        plane.ask("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": ACCOUNT}})
        plane.ask("POST", f"{RBAC}/clusterroles", cluster_role(ACCOUNT, admission_rules("matrixinfer")))
        plane.ask("POST", f"{RBAC}/namespaces/{NAMESPACE}/roles", admission_role(ACCOUNT, NAMESPACE, SECRET))
        for where, kind in (("", "ClusterRole"), (f"/namespaces/{NAMESPACE}", "Role")):
            binding = {"metadata": {"name": ACCOUNT}, "subjects": [subject]}
            binding |= {"roleRef": {"apiGroup": group, "kind": kind, "name": ACCOUNT}}
            plane.ask("POST", f"{RBAC}{where}/{kind.lower()}bindings", binding)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = plane.ask("POST", f"/api/v1/namespaces/default/serviceaccounts/{ACCOUNT}/token", request)
    config = json.loads(plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token["status"]["token"]}
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def clean(plane: ControlPlane) -> None:
    for path in (*(f"{collection}/matrixinfer" for collection in COLLECTIONS), f"{SECRETS}/{SECRET}"):
        with contextlib.suppress(HTTPError):
            plane.ask("DELETE", path)
    plane.empty()


@pytest.fixture
async def webhooks(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Webhooks]:
    await asyncio.to_thread(clean, control_plane)
    yield Webhooks(control_plane, await asyncio.to_thread(allow, control_plane, tmp_path))
    await asyncio.to_thread(clean, control_plane)


async def test_bad_objects_are_refused_in_our_words_and_good_ones_get_their_defaults(webhooks):
    async with webhooks.replica():
        await webhooks.configure()  # after the start: it is noticed
        await eventually(webhooks.are_trusted, timeout_s=30)
        await eventually(webhooks.refuse_bad_objects, timeout_s=30, every_s=0.1)
        (case,) = [case for case in cases() if case.name == "bounds"]
        told = await webhooks.refused("POST", MODELS, case.bad)
        assert "spec.backends[0]: maxReplicas 1 must be at least minReplicas 2" in told
        assert 'admission webhook "mutate.matrixinfer.ai" denied the request' in told
        (backend,) = (await webhooks.ask("POST", MODELS, model("m")))["spec"]["backends"]
        assert backend["rolloutStrategy"]["rollingUpdateConfiguration"]["maxUnavailable"] == 1
        held = await webhooks.ask("GET", f"{MODELS}/m")
        told = await webhooks.refused("PUT", f"{MODELS}/m", held | {"spec": case.bad["spec"]})
        assert "must be at least minReplicas" in told
        again = await webhooks.ask("PUT", f"{MODELS}/m", held)
        assert again["metadata"]["generation"] == held["metadata"]["generation"], "what is whole is left alone"
        assert (await webhooks.ask("DELETE", f"{MODELS}/m"))["status"] == "Success"
        with pytest.raises(HTTPError):
            await webhooks.ask("GET", f"{MODELS}/m")


def applies(plane: ControlPlane) -> int:
    """How often anybody has applied an object of ours, with or without a change."""
    port = plane.crd_port if plane.knows_cel else plane.port
    counted = APPLIES.findall(plane.ask("GET", "/metrics", port=port)["text"])
    return sum(int(float(count)) for labels, count in counted if 'group="matrixinfer.ai"' in labels)


async def test_reconcilers_are_at_rest_with_what_the_webhooks_have_written_out(webhooks, monkeypatch):
    """Handlers with both roles: a default that were no default to a reconciler would be written again for ever."""
    plane, stop = webhooks.plane, asyncio.Event()
    told = {"host": "127.0.0.1", "port": webhooks.port, "secret": SECRET, "namespace": NAMESPACE, "names": "127.0.0.1"}
    for name, value in (told | {"linger_s": 0}).items():
        monkeypatch.setenv(f"MATRIXINFER_ADMISSION_{name.upper()}", str(value))
    settings = HandlersSettings(
        roles=frozenset({"reconcile", "admission"}),
        cluster="kubernetes",
        kubeconfig=str(plane.kubeconfig),
        resync_s=0.5,
    )
    process = asyncio.create_task(serve(settings, MemoryBroker(SystemClock()).connect(), BusSettings(), stop))
    try:
        await webhooks.configure()
        await eventually(webhooks.refuse_bad_objects, timeout_s=30, every_s=0.1)
        await webhooks.ask("POST", MODELS, model("m"))
        infers = MODELS.replace("/models", "/modelinfers")

        async def is_made() -> bool:
            found = (await webhooks.ask("GET", infers))["items"]
            return bool(found) and found[0].get("status", {}).get("observedGeneration") == 1

        await eventually(is_made, timeout_s=30, every_s=0.1)
        (infer,) = (await webhooks.ask("GET", infers))["items"]
        assert infer["spec"]["recovery"] == {"backoff": "10s", "maxBackoff": "5m"}
        seen = [0]

        async def is_at_rest() -> bool:
            seen.append(await asyncio.to_thread(applies, plane))
            return seen[-1] == seen[-2] > 0

        await eventually(is_at_rest, timeout_s=30, every_s=2.0)
    finally:
        stop.set()
        await process


async def test_an_object_that_an_older_version_let_in_can_still_lose_its_finalizer(webhooks):
    bad = model("old", minReplicas=3000)
    bad["metadata"]["finalizers"] = ["example.com/kept"]
    held = await webhooks.ask("POST", MODELS, bad)
    async with webhooks.replica():
        await webhooks.configure()
        await eventually(webhooks.refuse_bad_objects, timeout_s=30, every_s=0.1)
        held["metadata"] |= {"labels": {"a": "b"}}
        held = await webhooks.ask("PUT", f"{MODELS}/old", held)
        await webhooks.ask("DELETE", f"{MODELS}/old")
        held = await webhooks.ask("GET", f"{MODELS}/old")
        held["metadata"]["finalizers"] = []
        await webhooks.ask("PUT", f"{MODELS}/old", held)
        with pytest.raises(HTTPError):
            await webhooks.ask("GET", f"{MODELS}/old")


async def test_two_replicas_share_one_certificate_and_renew_it_without_a_pause(webhooks):
    await webhooks.configure()
    names = AdmissionSettings(secret=SECRET, namespace=NAMESPACE, names=("127.0.0.1",)).all_names
    old = made(names, time.time() - 61 * DAY)
    secret = {"metadata": {"name": SECRET}, "type": "kubernetes.io/tls", "data": secret_data(old)}
    await webhooks.ask("POST", SECRETS, secret)
    async with webhooks.replica(), webhooks.replica(port=0):
        await eventually(webhooks.are_trusted, timeout_s=30)
        kept = await webhooks.keyset()
        assert kept.bundle == old.bundle, "the same authority"
        assert kept.certificate != old.certificate, "it was due"
        await eventually(webhooks.refuse_bad_objects, timeout_s=30, every_s=0.1)
        following = renewed(kept, names, time.time())
        await webhooks.put(following)
        await eventually(lambda: webhooks.serves(following, webhooks.port), timeout_s=30)
        assert await webhooks.refuse_bad_objects()


async def test_a_secret_that_is_lost_is_made_anew_by_one_of_two_and_served_by_both(webhooks):
    await webhooks.configure()
    other = free_port()
    async with webhooks.replica(), webhooks.replica(other):
        await eventually(webhooks.are_trusted, timeout_s=30)
        lost = await webhooks.keyset()
        await webhooks.ask("DELETE", f"{SECRETS}/{SECRET}")
        await eventually(webhooks.are_trusted, timeout_s=30)
        kept = await webhooks.keyset()
        assert kept.bundle != lost.bundle
        for port in (webhooks.port, other):
            await eventually(functools.partial(webhooks.serves, kept, port), timeout_s=30)
        await eventually(webhooks.refuse_bad_objects, timeout_s=30, every_s=0.1)


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
async def test_while_nobody_answers_the_policy_decides(webhooks, policy):
    await webhooks.configure(policy)
    async with webhooks.replica():
        await eventually(webhooks.refuse_bad_objects, timeout_s=30, every_s=0.1)
    if policy == "Fail":
        assert "failed calling webhook" in await webhooks.refused("POST", MODELS, model("m"))
        return
    (backend,) = (await webhooks.ask("POST", MODELS, model("m")))["spec"]["backends"]
    assert "rolloutStrategy" not in backend
    assert backend["minReplicas"] == 1, "the CRD's own defaults"


async def test_the_rules_allow_this_secret_and_no_other(webhooks, tmp_path):
    config = json.loads((tmp_path / "kubeconfig").read_text())
    plane = webhooks.plane
    mine = {"spec": {"resourceAttributes": {"namespace": NAMESPACE, "verb": "get", "resource": "secrets"}}}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
    user = {"user": f"system:serviceaccount:default:{ACCOUNT}", "groups": ["system:serviceaccounts"]}
    assert config["users"][0]["user"]["token"]
    for name, may in ((SECRET, True), ("another", False), ("", False)):
        attributes = mine["spec"]["resourceAttributes"] | {"name": name}
        body = review | {"spec": user | {"resourceAttributes": attributes}}
        answer = await asyncio.to_thread(plane.ask, "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
        assert answer["status"].get("allowed", False) is may
