"""How a person's watch goes on: where the server ended it, after what it has forgotten, after what broke."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.cluster_client import Refused, Sighting
from matrixinfer.bus.errors import Unavailable
from matrixinfer.handlers.cluster.kubernetes.client import KubernetesClient
from support.scripted_api import Answer, ScriptedApi, scripted_api

Body = dict[str, Any]
Watch = AsyncGenerator[list[Sighting], None]


class NoClock(SystemClock):
    async def sleep(self, seconds: float) -> None:
        await super().sleep(0.0)


def pod(name: str, version: int) -> Body:
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": str(version)}}


def page(version: int, *bodies: Body, more: str = "") -> Answer:
    return Answer({"items": list(bodies), "metadata": {"resourceVersion": str(version), "continue": more}})


def told(*events: tuple[str, Body], stays_open: bool = False) -> Answer:
    return Answer(lines=[{"type": what, "object": body} for what, body in events], stays_open=stays_open)


def seen(sightings: list[Sighting]) -> list[str]:
    return [f"{'-' if one.is_gone else '+'}{one.manifest['metadata']['name']}" for one in sightings]


@contextlib.asynccontextmanager
async def watching(tmp_path, *answers: Answer, name: str = "") -> AsyncIterator[tuple[Watch, ScriptedApi]]:
    script = iter(answers)
    async with scripted_api(tmp_path, lambda *_: next(script)) as api:
        client = await KubernetesClient.open(NoClock(), kubeconfig=str(api.kubeconfig))
        async with contextlib.aclosing(client.watch("pods", "n", name)) as sightings:
            yield sightings, api
        await client.close()


GOES_ON = told(("ADDED", pod("z", 99)), stays_open=True)


async def test_a_list_in_pages_and_a_watch_that_the_server_ends_go_on_where_they_were(tmp_path):
    answers = [
        page(5, pod("b", 2), more="next"),
        page(5, pod("a", 1)),
        told(("MODIFIED", pod("a", 7)), ("BOOKMARK", {"metadata": {"resourceVersion": "9"}})),
        told(("DELETED", pod("a", 11)), stays_open=True),
    ]
    async with watching(tmp_path, *answers) as (sightings, api):
        assert [seen(await anext(sightings)) for _ in range(3)] == [["+a", "+b"], ["+a"], ["-a"]]
        assert [query.get("resourceVersion") for _, _, query in api.asked] == [None, None, "5", "9"]


async def test_after_what_the_server_has_forgotten_the_differences_are_told(tmp_path):
    expired = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    answers = [
        page(5, pod("a", 1), pod("b", 2), pod("c", 3)),
        told(("ERROR", expired)),
        page(20, pod("b", 2), pod("c", 15), pod("d", 16)),
        GOES_ON,
    ]
    async with watching(tmp_path, *answers) as (sightings, _):
        assert [seen(await anext(sightings)) for _ in range(3)] == [["+a", "+b", "+c"], ["-a", "+c", "+d"], ["+z"]]


async def test_a_watch_that_fails_is_begun_anew_with_a_list_and_says_nothing_where_nothing_changed(tmp_path):
    busy = Answer({"kind": "Status", "reason": "x", "message": "no", "code": 503}, status=503)
    answers = [page(5, pod("a", 1)), told(("MODIFIED", pod("a", 6))), busy, page(6, pod("a", 6)), GOES_ON]
    async with watching(tmp_path, *answers) as (sightings, _):
        assert [seen(await anext(sightings)) for _ in range(3)] == [["+a"], ["+a"], ["+z"]]


async def test_a_watch_that_is_forbidden_says_so(tmp_path):
    no = Answer({"kind": "Status", "reason": "Forbidden", "message": "you may not watch", "code": 403}, status=403)
    async with watching(tmp_path, page(5), no) as (sightings, _):
        await anext(sightings)
        with pytest.raises(Refused, match="you may not watch"):
            await anext(sightings)


async def test_a_server_that_does_not_answer_a_list_ends_the_watch_with_its_error(tmp_path):
    busy = Answer({"kind": "Status", "reason": "x", "message": "no", "code": 503}, status=503)
    async with watching(tmp_path, busy) as (sightings, _):
        with pytest.raises(Unavailable):
            await anext(sightings)


async def test_one_object_is_asked_for_by_its_name(tmp_path):
    async with watching(tmp_path, page(5), GOES_ON, name="z") as (sightings, api):
        assert await anext(sightings) == []
        assert seen(await anext(sightings)) == ["+z"]
        assert [query["fieldSelector"] for _, _, query in api.asked] == ["metadata.name=z"] * 2
