"""A real Kubernetes control plane on loopback: etcd, kube-apiserver, the CRD server (CEL) behind its aggregator, and
the controller-manager, from the folder that KUBEBUILDER_ASSETS names. Whatever becomes of the tests, the reaper ends
them.

Without those programs `missing()` says what is lacking, and the tests that need them are skipped, with that reason.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import matrixinfer.reaper
from matrixinfer.bus.server.record import free_port
from matrixinfer.handlers.api.registry import KINDS
from matrixinfer.handlers.cluster.kubernetes.requests import collection_path
from support.kube_certificates import make_certificates

ASSETS = "KUBEBUILDER_ASSETS"
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
CRD_SERVER = "apiextensions-apiserver"
"""May be lacking: then the core serves the custom resources too, and as old as it is, it knows no CEL."""
START_S = 120.0
GROUP, VERSION = "matrixinfer.ai", "v1alpha1"
SERVED = f"/apis/{GROUP}/{VERSION}/models"
CONTROLLERS = (
    "*,-nodeipam,-nodelifecycle,-cloud-node-lifecycle,-route,-service,-persistentvolume-binder,-attachdetach,-podgc"
)
"""Without those that ask for machines: there is no Node, so that `podgc` would delete every Pod now and then."""
NAMESPACES = ("default", "one", "two")
RESOURCES = "customresourcedefinitions"
Body = dict[str, Any]


def missing() -> str:
    """Why there can be no control plane here; empty when there can."""
    folder = os.environ.get(ASSETS, "")
    if not folder:
        return f"{ASSETS} names no folder with a Kubernetes control plane (`make kube-assets` builds one)"
    lacking = [name for name in PROGRAMS if not os.access(Path(folder) / name, os.X_OK)]
    if lacking:
        return f"{ASSETS}={folder} lacks {', '.join(lacking)}"
    return "" if shutil.which("openssl") else "openssl is not installed"


class ControlPlane:
    """Started by `start` with the CRDs that it shall serve; the kubeconfig is its administrator's."""

    def __init__(self, folder: Path) -> None:
        self._programs = Path(os.environ[ASSETS])
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._token = secrets.token_hex(16)
        self.house = secrets.token_hex(8)
        self.etcd_port, self._peer_port, self.port, self.crd_port = (free_port() for _ in range(4))
        self._manager_port = free_port()
        self.kubeconfig = folder / "kubeconfig"
        self._reaper = subprocess.Popen(
            [sys.executable, matrixinfer.reaper.__file__, self.house], stdin=subprocess.PIPE, start_new_session=True
        )

    @property
    def knows_cel(self) -> bool:
        return os.access(self._programs / CRD_SERVER, os.X_OK)

    def start(self, crds: Iterable[Body]) -> None:
        """CRDs come before the controller-manager: its garbage collector looks for new kinds every 30 s only."""
        make_certificates(self._folder / "certs")
        (self._folder / "tokens.csv").write_text(f'{self._token},admin,admin,"system:masters"\n')
        self._write_kubeconfig(self.kubeconfig, self.port)
        self.start_etcd()
        self.start_api_server()
        if self.knows_cel:
            self._start_crd_server()
        for crd in crds:
            self.ask("POST", f"/apis/apiextensions.k8s.io/v1/{RESOURCES}", crd, port=self._crd_port)
        if self.knows_cel:
            self._make_the_way_to_the_crd_server()
            self._put_behind_the_aggregator(GROUP, VERSION)
        self._until_answers(SERVED)
        self._start_manager()
        for namespace in NAMESPACES[1:]:
            self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        for namespace in NAMESPACES:  # no Pod is admitted before
            self._until_answers(f"/api/v1/namespaces/{namespace}/serviceaccounts/default")

    def stop(self) -> None:
        assert self._reaper.stdin is not None
        for process in reversed(self._processes.values()):
            process.kill()
        self._reaper.stdin.close()
        self._reaper.wait()
        for process in self._processes.values():
            process.wait()

    # -- faults
    def kill(self, program: str) -> None:
        """As a crash would."""
        process = self._processes.pop(program)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def restart_servers(self) -> None:
        """Both that serve objects; what they remembered of the past they read from etcd again."""
        for program in (CRD_SERVER, "kube-apiserver"):
            if program in self._processes:
                self.kill(program)
        self.start_api_server()
        if self.knows_cel:
            self._start_crd_server()
        self._until_answers(SERVED)

    def forget_the_past(self) -> None:
        """etcd throws away every version but the newest: a watch or a list from an older one is answered with 410."""
        status = self._etcd("/v3/maintenance/status", {})
        self._etcd("/v3/kv/compaction", {"revision": status["header"]["revision"], "physical": True})

    # -- between two tests
    def empty(self) -> None:
        """No object of a test before is left."""
        for namespace in NAMESPACES:
            for kind in KINDS.values():
                path = collection_path(kind, namespace)
                for name in self._names(path):
                    with contextlib.suppress(urllib.error.HTTPError):  # its owner went before, and it with it
                        self.ask("DELETE", f"{path}/{name}?gracePeriodSeconds=0")
                until(functools.partial(self._is_empty, path), f"{path} is empty")

    def _is_empty(self, path: str) -> bool:
        return not self._names(path)

    def _names(self, path: str) -> list[str]:
        """Of what is there; a kind that is not served has no objects, and the server's own Service is not counted."""
        try:
            found = self.ask("GET", path)["items"]
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return []
        return [one["metadata"]["name"] for one in found if one["metadata"]["name"] != "kubernetes"]

    # -- kinds of others
    def serve_kind(self, crd: Body) -> None:
        """Until `forget_kind`."""
        spec = crd["spec"]
        (version,) = spec["versions"]
        self.ask("POST", f"/apis/apiextensions.k8s.io/v1/{RESOURCES}", crd, port=self._crd_port)
        if self.knows_cel:
            self._put_behind_the_aggregator(spec["group"], version["name"])
        self._until_answers(f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}")

    def forget_kind(self, crd: Body) -> None:
        """Its objects go with it."""
        spec = crd["spec"]
        path = f"/apis/apiextensions.k8s.io/v1/{RESOURCES}/{crd['metadata']['name']}"
        self.ask("DELETE", path, port=self._crd_port)
        if self.knows_cel:
            name = f"{spec['versions'][0]['name']}.{spec['group']}"
            self.ask("DELETE", f"/apis/apiregistration.k8s.io/v1/apiservices/{name}")

    @property
    def _crd_port(self) -> int:
        return self.crd_port if self.knows_cel else self.port

    # -- talking to it
    def ask(self, method: str, path: str, body: Body | None = None, *, port: int | None = None) -> Body:
        """As the administrator. Raises HTTPError."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(
            f"https://127.0.0.1:{port or self.port}{path}", data=data, headers=headers, method=method
        )
        trust = ssl.create_default_context(cafile=str(self._folder / "certs" / "ca.crt"))
        try:
            with urllib.request.urlopen(request, timeout=20, context=trust) as answer:
                content = answer.read()
        except HTTPError as error:
            raise _told(error) from None
        parsed: Body = json.loads(content) if content.startswith(b"{") else {"text": content.decode()}
        return parsed

    def _etcd(self, path: str, body: Body) -> Body:
        request = urllib.request.Request(f"http://127.0.0.1:{self.etcd_port}{path}", data=json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=20) as answer:
            parsed: Body = json.loads(answer.read())
        return parsed

    # -- the programs
    def start_etcd(self) -> None:
        url, peers = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        self._run(
            "etcd",
            f"--data-dir={self._folder / 'etcd'}",
            *(f"--{what}-client-urls={url}" for what in ("listen", "advertise")),
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",
        )

    def start_api_server(self) -> None:
        certs = self._folder / "certs"
        header = "--requestheader-"
        self._run(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            *self._certified(),
            f"--client-ca-file={certs / 'ca.crt'}",
            f"--token-auth-file={self._folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--allow-privileged",
            "--service-account-issuer=https://kubernetes.default.svc",
            *(f"--service-account-{what}-file={certs / 'sa.key'}" for what in ("key", "signing-key")),
            f"{header}client-ca-file={certs / 'ca.crt'}",
            f"{header}allowed-names=front-proxy-client",
            f"{header}username-headers=X-Remote-User",
            f"{header}group-headers=X-Remote-Group",
            f"{header}extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={certs / 'front.crt'}",
            f"--proxy-client-key-file={certs / 'front.key'}",
            "--endpoint-reconciler-type=none",
        )
        self._until_answers("/readyz")

    def _start_crd_server(self) -> None:
        self._run(
            CRD_SERVER,
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            "--etcd-prefix=/registry.ext",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.crd_port}",
            *self._certified(),
            *self._known_by_kubeconfig(),
            "--enable-priority-and-fairness=false",  # the core is too old for either
            "--disable-admission-plugins=ValidatingAdmissionPolicy,MutatingAdmissionPolicy",
        )
        self._until_answers("/readyz", port=self.crd_port)

    def _start_manager(self) -> None:
        self._run(
            "kube-controller-manager",
            *self._known_by_kubeconfig(),
            "--leader-elect=false",
            "--use-service-account-credentials=false",
            f"--service-account-private-key-file={self._folder / 'certs' / 'sa.key'}",
            f"--root-ca-file={self._folder / 'certs' / 'ca.crt'}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._manager_port}",
            "--port=0",
            f"--controllers={CONTROLLERS}",
        )

    def _make_the_way_to_the_crd_server(self) -> None:
        spec = {"type": "ExternalName", "externalName": "localhost"}
        self._until_answers("/api/v1/namespaces/kube-system")
        self.ask("POST", "/api/v1/namespaces/kube-system/services", {"metadata": {"name": "crd-server"}, "spec": spec})

    def _put_behind_the_aggregator(self, group: str, version: str) -> None:
        behind = {
            "metadata": {"name": f"{version}.{group}"},
            "spec": {
                "group": group,
                "version": version,
                "groupPriorityMinimum": 1000,
                "versionPriority": 15,
                "insecureSkipTLSVerify": True,
                "service": {"name": "crd-server", "namespace": "kube-system", "port": self.crd_port},
            },
        }
        self.ask("POST", "/apis/apiregistration.k8s.io/v1/apiservices", behind)

    def _certified(self) -> list[str]:
        certs = self._folder / "certs"
        return [f"--tls-cert-file={certs / 'server.crt'}", f"--tls-private-key-file={certs / 'server.key'}"]

    def _known_by_kubeconfig(self) -> list[str]:
        return [f"--{what}kubeconfig={self.kubeconfig}" for what in ("", "authentication-", "authorization-")]

    def _write_kubeconfig(self, path: Path, port: int) -> None:
        cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(self._folder / "certs/ca.crt")}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self._token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
            "current-context": "tests",
        }
        path.write_text(json.dumps(content))  # JSON is YAML

    def kubeconfig_through(self, port: int) -> Path:
        """A kubeconfig that goes through a proxy on that port."""
        path = self._folder / f"kubeconfig-{port}"
        self._write_kubeconfig(path, port)
        return path

    def _run(self, program: str, *arguments: str) -> None:
        environment = os.environ | {matrixinfer.reaper.MARKER: self.house}
        with (self._folder / f"{program}.log").open("ab") as log:
            self._processes[program] = subprocess.Popen(
                [str(self._programs / program), *arguments], stdout=log, stderr=log, env=environment
            )

    def _until_answers(self, path: str, *, port: int | None = None) -> None:
        until(lambda: self._answers(path, port), f"{path} on port {port or self.port}; the logs are in {self._folder}")

    def _answers(self, path: str, port: int | None) -> bool:
        for program, process in self._processes.items():
            if process.poll() is not None:
                log = (self._folder / f"{program}.log").read_text(errors="replace")
                raise AssertionError(f"{program} ended with {process.returncode}: {log[-2000:]}")
        try:
            self.ask("GET", path, port=port)
        except OSError:
            return False
        return True


def until(is_true: Callable[[], bool], what: str, timeout_s: float = START_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.05)


def _told(error: HTTPError) -> HTTPError:
    """The same, with the server's words in what a failed test prints; its body can be read once more."""
    said = error.read()
    again = HTTPError(error.url, error.code, error.msg, error.headers, io.BytesIO(said))
    again.add_note(said.decode(errors="replace")[:4000])
    return again
