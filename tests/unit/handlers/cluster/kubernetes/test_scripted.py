"""Answers that the real API server gives too seldom for a test: too busy, too old, in pages, in pieces, nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from matrixinfer.bus.background import end
from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.errors import Misconfigured, Unavailable
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.cluster.kubernetes.adapter import KubernetesCluster
from matrixinfer.handlers.cluster.kubernetes.client import KubernetesClient
from support.eventually import eventually
from support.scripted_api import Answer, Query, scripted_api


class HastyClock(SystemClock):
    """Sleeps are written down and not slept."""

    def __init__(self) -> None:
        self.slept_s: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        await asyncio.sleep(0.001)


def body(name: str, version: int, *, uid: str = "", annotation: str = "") -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "default", "uid": uid or f"uid-{name}"}
    metadata |= {"resourceVersion": str(version), "annotations": {"a": annotation}}
    backend = {"name": "a", "type": "Simulated", "minReplicas": 1}
    return {
        "apiVersion": Model.API_VERSION,
        "kind": "Model",
        "metadata": metadata,
        "spec": {"backends": [backend]},
    }


def page(version: int, *bodies: dict[str, Any], more: str = "") -> Answer:
    return Answer({"items": list(bodies), "metadata": {"resourceVersion": str(version), "continue": more}})


def event(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": content}


def bookmark(version: int) -> dict[str, Any]:
    return event("BOOKMARK", {"kind": "Model", "metadata": {"resourceVersion": str(version)}})


def refusal(code: int, reason: str, **headers: str) -> Answer:
    return Answer({"kind": "Status", "reason": reason, "message": "no", "code": code}, status=code, headers=headers)


def expired() -> dict[str, Any]:
    return event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})


def silence() -> Answer:
    return Answer(lines=[], stays_open=True)


class Script:
    """The answers to lists and to watches, each in order; then empty ones and silence."""

    def __init__(self, lists: list[Answer], watches: list[Answer], others: list[Answer] | None = None) -> None:
        self._lists, self._watches, self._others = iter(lists), iter(watches), iter(others or [])

    def __call__(self, method: str, path: str, query: Query) -> Answer:
        if method != "GET":
            return next(self._others)
        if query.get("watch"):
            return next(self._watches, None) or silence()
        return next(self._lists, None) or page(1)


@contextlib.asynccontextmanager
async def opened(tmp_path, script: Callable[[str, str, Query], Answer]) -> AsyncIterator[tuple[Any, ...]]:
    clock = HastyClock()
    async with scripted_api(tmp_path, script) as api:
        cluster = await KubernetesCluster.open(clock, kubeconfig=str(api.kubeconfig), kinds=[Model])
        task = asyncio.create_task(cluster.run())
        try:
            yield cluster, api, clock
            assert not task.done()
        finally:
            await end([task])
            await cluster.close()


def names(cluster: KubernetesCluster) -> list[str]:
    return sorted(found.metadata.name for found in cluster.list(Model))


async def test_a_list_comes_in_pages(tmp_path):
    script = Script([page(7, body("a", 3), more="next"), page(7, body("b", 4))], [])
    async with opened(tmp_path, script) as (cluster, api, _):
        assert names(cluster) == ["a", "b"]
        assert [query.get("continue") for _, _, query in api.asked[:2]] == [None, "next"]
        assert await cluster.reaches(Model, "7", 1.0)


async def test_pages_that_took_too_long_are_asked_for_from_the_start(tmp_path):
    lists = [page(1), page(7, body("a", 3), more="next"), refusal(410, "Expired"), page(9, body("b", 8))]
    async with opened(tmp_path, Script(lists, [Answer(lines=[expired()])])) as (cluster, _, _):
        await eventually(lambda: names(cluster) == ["b"])


async def test_a_watch_goes_on_from_the_last_bookmark(tmp_path):
    watches = [
        Answer(lines=[event("ADDED", body("a", 8)), bookmark(20)]),
        Answer(lines=[event("ADDED", body("b", 21))]),
    ]
    async with opened(tmp_path, Script([page(7)], watches)) as (cluster, api, _):
        await eventually(lambda: names(cluster) == ["a", "b"])
        watched = [query["resourceVersion"] for _, _, query in api.asked if query.get("watch")]
        assert watched[:2] == ["7", "20"]
        assert sum(not query.get("watch") for _, _, query in api.asked) == 1


@pytest.mark.parametrize("forgot", [Answer(lines=[expired()]), refusal(410, "Expired")])
async def test_what_was_missed_while_the_server_forgot_comes_as_changes(tmp_path, forgot):
    lists = [page(7, body("gone", 3), body("kept", 4), body("other", 5)), page(30, body("kept", 9), body("other", 5))]
    async with opened(tmp_path, Script(lists, [forgot])) as (cluster, _, _):
        changes = cluster.watch([Model])
        async with asyncio.timeout(5):
            first = [await anext(changes) for _ in range(3)]
            told = [await anext(changes) for _ in range(2)]
        assert all(change.before is None for change in first)
        assert [(change.newest.metadata.name, change.after is None) for change in told] == [
            ("gone", True),
            ("kept", False),
        ]


async def test_a_list_after_the_store_was_put_back_is_believed(tmp_path):
    lists = [page(500, body("a", 400), body("b", 450)), page(20, body("a", 11))]
    async with opened(tmp_path, Script(lists, [Answer(lines=[expired()])])) as (cluster, _, _):
        await eventually(lambda: names(cluster) == ["a"])
        assert cluster.get(Model, "default", "a").metadata.resource_version == "11"
        assert not await cluster.reaches(Model, "500", 0.01)


async def test_an_object_of_any_size_comes_through_a_watch(tmp_path):
    large = body("large", 9, annotation="x" * 3_000_000)
    async with opened(tmp_path, Script([page(7)], [Answer(lines=[event("ADDED", large)])])) as (cluster, _, _):
        await eventually(lambda: names(cluster) == ["large"])


async def test_nonsense_in_a_watch_is_survived(tmp_path):
    watches = [Answer(lines=["<html>", event("ADDED", body("a", 8))]), Answer(lines=[event("ADDED", body("b", 9))])]
    async with opened(tmp_path, Script([page(7)], watches)) as (cluster, _, clock):
        await eventually(lambda: names(cluster) == ["b"])
        assert clock.slept_s


async def test_a_busy_server_is_given_the_time_that_it_asks_for(tmp_path):
    others = [refusal(429, "TooManyRequests", **{"Retry-After": "7"}), Answer(body("m", 9))]
    async with opened(tmp_path, Script([page(7)], [], others)) as (cluster, _, clock):
        applied = await cluster.apply(Model.read(body("m", 0)))
        assert applied.metadata.resource_version == "9"
        assert clock.slept_s == [pytest.approx(7.35, abs=0.36)]


async def test_a_server_that_stays_busy_is_unavailable(tmp_path):
    others = [refusal(429, "TooManyRequests") for _ in range(5)]
    async with opened(tmp_path, Script([page(7)], [], others)) as (cluster, _, _):
        with pytest.raises(Unavailable, match="5 times in a row"):
            await cluster.apply(Model.read(body("m", 0)))


async def test_a_busy_server_is_watched_again_after_the_time_that_it_asks_for(tmp_path):
    watches = [refusal(429, "TooManyRequests", **{"Retry-After": "9"}), Answer(lines=[event("ADDED", body("a", 8))])]
    async with opened(tmp_path, Script([page(7)], watches)) as (cluster, _, clock):
        await eventually(lambda: names(cluster) == ["a"])
        assert clock.slept_s[0] >= 9.0


async def test_a_server_error_is_unavailable_and_not_asked_again(tmp_path):
    others = [refusal(500, "InternalError")]
    async with opened(tmp_path, Script([page(7)], [], others)) as (cluster, _, _):
        with pytest.raises(Unavailable, match="InternalError"):
            await cluster.apply(Model.read(body("m", 0)))


async def test_a_kind_that_is_not_served_yet_is_empty_and_then_there(tmp_path):
    lists = [refusal(404, "NotFound"), refusal(404, "NotFound"), page(9, body("a", 3))]
    async with opened(tmp_path, Script(lists, [])) as (cluster, _, _):
        assert not cluster.serves(Model)
        await eventually(lambda: names(cluster) == ["a"])
        assert cluster.serves(Model)


async def test_logs_come_line_by_line(tmp_path):
    async with scripted_api(tmp_path, lambda *_: Answer(lines=["one", "two"])) as api:
        client = await KubernetesClient.open(SystemClock(), kubeconfig=str(api.kubeconfig))
        assert [line async for line in client.logs("default", "p", "engine", follow=True)] == ["one", "two"]
        assert [line async for line in client.logs("default", "p", tail=3, previous=True)] == ["one", "two"]
        await client.close()
        path = "/api/v1/namespaces/default/pods/p/log"
        expected = [
            {"follow": "true", "container": "engine"},
            {"previous": "true", "follow": "false", "tailLines": "3"},
        ]
        assert api.asked == [("GET", path, query) for query in expected]


async def test_a_closed_connection_says_so(tmp_path):
    async with scripted_api(tmp_path, lambda *_: page(1)) as api:
        client = await KubernetesClient.open(SystemClock(), kubeconfig=str(api.kubeconfig))
        await client.close()
        with pytest.raises(Unavailable, match="closed by this process"):
            await client.list("models")


def test_a_process_that_is_not_told_to_use_kubernetes_does_not_import_its_client():
    code = "import sys, matrixinfer.handlers.main; print([m for m in sys.modules if m in ('kubernetes', 'aiohttp')])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


async def test_a_kubeconfig_that_is_not_there_is_told(tmp_path):
    with pytest.raises(Misconfigured, match="no way to a Kubernetes cluster: there is no file"):
        await KubernetesCluster.open(SystemClock(), kubeconfig=str(tmp_path / "none"))
