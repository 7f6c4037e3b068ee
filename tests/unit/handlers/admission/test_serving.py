"""The HTTPS server: what it answers, which certificate, and how it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from matrixinfer.bus.background import end
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.errors import Misconfigured
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.bus.settings import BusSettings
from matrixinfer.handlers.admission import cert_files
from matrixinfer.handlers.admission.authority import Keyset, made
from matrixinfer.handlers.admission.errors import BadKeyset
from matrixinfer.handlers.admission.main import run
from matrixinfer.handlers.admission.server import MOST_BYTES
from matrixinfer.handlers.admission.settings import AdmissionSettings
from matrixinfer.handlers.admission.tls import Tls
from matrixinfer.handlers.main import serve
from matrixinfer.handlers.settings import HandlersSettings
from support.eventually import eventually
from support.rule_cases import cases


def keyset() -> Keyset:
    return made(["127.0.0.1"], time.time())


def write(folder: Path, one: Keyset) -> None:
    (folder / "tls.key").write_bytes(one.key)
    (folder / "tls.crt").write_bytes(one.certificate)


class Door:
    def __init__(self, port: int, stop: asyncio.Event, task: asyncio.Task[None]) -> None:
        self.port, self.stop, self.task = port, stop, task

    def client(self, trusted: Keyset) -> httpx.AsyncClient:
        trust = ssl.create_default_context(cadata=trusted.bundle.decode())
        return httpx.AsyncClient(base_url=f"https://127.0.0.1:{self.port}", verify=trust, trust_env=False)

    async def serves(self, one: Keyset) -> bool:
        served = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", self.port))
        return served.strip() == one.certificate.decode().strip()


@contextlib.asynccontextmanager
async def door(folder: Path, linger_s: float = 0.0) -> AsyncIterator[Door]:
    stop, ports = asyncio.Event(), asyncio.Queue[int]()
    settings = AdmissionSettings(host="127.0.0.1", port=0, cert_dir=folder, linger_s=linger_s)
    task = asyncio.create_task(run(settings, SystemClock(), stop, on_listening=ports.put_nowait))
    try:
        yield Door(await ports.get(), stop, task)
        stop.set()
        await task
    finally:
        await end([task])


async def test_a_review_is_answered_and_nonsense_is_refused(tmp_path: Path) -> None:
    one = keyset()
    write(tmp_path, one)
    case = cases()[0]
    request = {"uid": "u", "operation": "CREATE", "object": case.bad}
    async with door(tmp_path) as opened, opened.client(one) as client:
        answer = await client.post("/validate", json={"apiVersion": "admission.k8s.io/v1", "request": request})
        assert "must be at least minReplicas" in answer.json()["response"]["status"]["message"]
        request["object"] = case.good
        answer = await client.post("/mutate", json={"apiVersion": "admission.k8s.io/v1", "request": request})
        assert answer.json()["response"]["patchType"] == "JSONPatch"
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.post("/validate", content=b"{")).status_code == 400
        assert (await client.post("/validate", content=b"[" * 200_000)).status_code == 400
        assert (await client.post("/validate", content=b" " * (MOST_BYTES + 1))).status_code == 413
        assert (await client.get("/validate")).status_code == 405


async def test_another_certificate_is_served_without_a_restart_and_a_broken_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cert_files, "LOOK_EVERY_S", 0.02)
    first, second = keyset(), keyset()
    write(tmp_path, first)
    async with door(tmp_path) as opened, opened.client(first) as client:
        assert (await client.get("/readyz")).status_code == 200
        (tmp_path / "tls.key").write_bytes(second.key)  # the one file without the other
        await eventually(lambda: "no certificate to serve" in caplog.text)
        assert await opened.serves(first)
        write(tmp_path, second)
        await eventually(lambda: opened.serves(second))
        assert (await client.get("/readyz")).status_code == 200, "an open connection keeps what it has"


async def test_it_says_that_it_leaves_and_answers_until_then(tmp_path: Path) -> None:
    one = keyset()
    write(tmp_path, one)
    async with door(tmp_path, linger_s=1.0) as opened, opened.client(one) as client:
        opened.stop.set()

        async def is_leaving() -> bool:
            return (await client.get("/readyz")).status_code == 503

        await eventually(is_leaving)
        assert (await client.post("/validate", content=b"{")).status_code == 400
    assert opened.task.done()


async def test_without_a_certificate_nobody_is_told_that_it_serves_and_it_ends_when_told(tmp_path: Path) -> None:
    stop, told = asyncio.Event(), list[int]()
    settings = AdmissionSettings(host="127.0.0.1", port=0, cert_dir=tmp_path)
    task = asyncio.create_task(run(settings, SystemClock(), stop, on_listening=told.append))
    await asyncio.sleep(0)
    stop.set()
    await task
    assert told == []


async def test_a_pair_that_does_not_fit_is_refused() -> None:
    tls = Tls()
    with pytest.raises(BadKeyset):
        tls.serve(keyset().certificate, keyset().key)
    assert not tls.is_ready.is_set()


async def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    write(tmp_path, keyset())
    async with door(tmp_path) as opened:
        settings = AdmissionSettings(host="127.0.0.1", port=opened.port, cert_dir=tmp_path)
        with pytest.raises(Misconfigured, match="MATRIXINFER_ADMISSION_PORT"):
            await run(settings, SystemClock(), asyncio.Event())


async def test_the_role_is_for_a_kubernetes_cluster_only() -> None:
    settings = HandlersSettings(roles=frozenset({"admission"}))
    with pytest.raises(Misconfigured, match="MATRIXINFER_HANDLERS_CLUSTER=kubernetes"):
        await serve(settings, MemoryBroker(SystemClock()).connect(), BusSettings(), asyncio.Event())


def test_names_come_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATRIXINFER_ADMISSION_NAMES", "10.0.0.1, api.example.com")
    assert AdmissionSettings().all_names == (
        "matrixinfer-admission.matrixinfer.svc",
        "matrixinfer-admission.matrixinfer.svc.cluster.local",
        "10.0.0.1",
        "api.example.com",
    )
