"""Pods with init containers, volumes, probes and hooks, as real processes."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from support.eventually import eventually
from support.node import World, pids_in

Body = dict[str, Any]
DATA = {"volumes": [{"name": "data", "emptyDir": {}}]}
MOUNT = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}


def shell(name: str, script: str, **more: Any) -> Body:
    """Any: fields of a container."""
    return {"name": name, "command": ["sh", "-c", script]} | more


def pod(*containers: Body, init: tuple[Body, ...] = (), **spec: Any) -> Body:
    """Any: fields of a Pod's spec."""
    metadata = {"name": "p", "namespace": "default", "uid": "u1", "labels": {}}
    spec = {"containers": list(containers), "initContainers": list(init)} | spec
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def probe(script: str, **more: Any) -> Body:
    """Any: fields of a probe. Periods are whole seconds in Kubernetes; here they need not be."""
    return {"exec": {"command": ["sh", "-c", script]}, "periodSeconds": 0.05} | more


async def status(world: World) -> Body:
    found = await world.pod()
    assert found is not None
    return found.get("status", {})


async def is_gone(world: World) -> bool:
    return await world.pod() is None


def log(world: World, container: str = "main") -> str:
    path = world.settings.data_dir / "logs" / "pods" / "default" / "p" / f"{container}.log"
    return path.read_text() if path.exists() else ""


async def test_what_an_init_container_writes_into_a_volume_the_container_reads(world):
    writes = shell("fetch", "echo weights > /data/model", **MOUNT)
    reads = shell("main", "cat $(WHERE)/model; sleep 60", env=[{"name": "WHERE", "value": "/data"}], **MOUNT)
    async with world.node():
        await world.put(pod(reads, init=(writes,), **DATA))
        await eventually(world.ready)
        await eventually(lambda: log(world) == "weights\n")
        told = await status(world)
        (fetched,) = told["initContainerStatuses"]
        assert fetched["state"]["terminated"]["exitCode"] == 0
        assert {one["type"]: one["status"] for one in told["conditions"]}["Initialized"] == "True"
        folder = world.settings.data_dir / "pods"
        assert list(folder.glob("*/*/volumes/data/model"))
        await world.mark_deleted()
        await eventually(lambda: is_gone(world))
        assert not list(folder.glob("*/*/volumes/data/model"))


async def test_an_init_container_that_fails_is_told_and_tried_again_until_it_succeeds(world, tmp_path):
    allowed = tmp_path / "allowed"
    fetch = shell("fetch", f"test -e {allowed} || {{ echo denied; exit 7; }}")
    async with world.node():
        await world.put(pod(shell("main", "sleep 60"), init=(fetch,)))

        async def backs_off() -> bool:
            (one, *_) = (await status(world)).get("initContainerStatuses", [{}])
            return one.get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff"

        await eventually(backs_off)
        told = await status(world)
        assert "code 7; denied" in told["initContainerStatuses"][0]["state"]["waiting"]["message"]
        assert told["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
        assert told["phase"] == "Pending"
        allowed.touch()
        await eventually(world.ready)


async def test_a_sidecar_serves_the_containers_and_goes_after_them(world):
    beside = shell(
        "beside",
        "trap 'cat /data/said; exit 0' TERM; touch /data/up; while :; do sleep 0.02; done",
        restartPolicy="Always",
        startupProbe=probe("test -e /data/up"),
        **MOUNT,
    )
    main = shell("main", "test -e /data/up && trap 'echo bye > /data/said; exit 0' TERM; while :; do sleep 0.02; done")
    async with world.node():
        await world.put(pod(main | MOUNT, init=(beside,), **DATA))
        await eventually(world.ready)
        await world.mark_deleted()
        await eventually(lambda: is_gone(world))
        assert log(world, "beside").splitlines()[-1] == "bye"


async def test_a_readiness_probe_decides_whether_the_pod_is_ready(world, tmp_path):
    well = tmp_path / "well"
    main = shell("main", "sleep 60", readinessProbe=probe(f"test -e {well} || {{ echo not yet; exit 1; }}"))
    async with world.node():
        await world.put(pod(main))
        await eventually(lambda: pids_in(world.settings.data_dir))
        well.touch()
        await eventually(world.ready)
        well.unlink()

        async def is_unready_and_says_why() -> bool:
            conditions = {one["type"]: one for one in (await status(world))["conditions"]}
            return conditions["Ready"]["status"] == "False" and "not yet" in conditions["Ready"]["message"]

        await eventually(is_unready_and_says_why)
        assert (await status(world))["containerStatuses"][0]["restartCount"] == 0


async def test_a_container_that_is_not_alive_any_more_is_started_again(world, tmp_path):
    dead = tmp_path / "dead"
    main = shell(
        "main", f"rm -f {dead}; echo up; sleep 60", livenessProbe=probe(f"! test -e {dead}", initialDelaySeconds=0.3)
    )
    async with world.node():
        await world.put(pod(main, terminationGracePeriodSeconds=2))
        await eventually(world.ready)
        await eventually(lambda: log(world) == "up\n")
        dead.touch()

        async def restarted() -> bool:
            return (await status(world))["containerStatuses"][0]["restartCount"] >= 1

        await eventually(restarted)
        await eventually(world.ready)
        await eventually(lambda: not dead.exists())


@pytest.mark.parametrize("kind", ["httpGet", "tcpSocket"])
async def test_pages_and_ports_are_probed(world, kind):
    serve = (
        "import http.server, socketserver, sys\n"
        "server = socketserver.TCPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\n"
        "open('port', 'w').write(str(server.server_address[1]))\n"
        "server.serve_forever()\n"
    )
    async with world.node():
        main = {"name": "main", "command": [sys.executable, "-c", serve]}
        await world.put(pod(main))
        await eventually(world.ready)
        [written] = await eventually(lambda: list(world.settings.data_dir.glob("pods/**/port")))
        port = await eventually(lambda: written.read_text())
        asked = {kind: {"port": int(port)}, "periodSeconds": 0.05}
        refused = {kind: {"port": 1}, "periodSeconds": 0.05}
        for name, check, ready in (("asks", asked, True), ("fails", refused, False)):
            document = pod(shell("main", "sleep 60", readinessProbe=check))
            document["metadata"] |= {"name": name, "uid": name}
            await world.put(document)

            async def is_told(name: str = name, ready: bool = ready) -> bool:
                found = await world.pod(name)
                conditions = {one["type"]: one for one in (found or {}).get("status", {}).get("conditions", ())}
                told = conditions.get("Ready", {})
                if ready:
                    return bool(told.get("status") == "True")
                return "readiness probe" in told.get("message", "")

            await eventually(is_told)


async def test_what_shall_run_before_a_stop_runs_before_it(world):
    main = shell(
        "main",
        "trap 'cat /data/hook; exit 0' TERM; while :; do sleep 0.02; done",
        lifecycle={"preStop": {"exec": {"command": ["sh", "-c", "sleep 0.1; echo drained > /data/hook"]}}},
        **MOUNT,
    )
    async with world.node():
        await world.put(pod(main, volumes=DATA["volumes"]))
        await eventually(world.ready)
        await world.mark_deleted()
        await eventually(lambda: is_gone(world))
        assert log(world).splitlines()[-1] == "drained"


async def test_a_stop_of_the_node_runs_it_too(world):
    main = shell(
        "main",
        "trap 'cat /data/hook; exit 0' TERM; while :; do sleep 0.02; done",
        lifecycle={"preStop": {"exec": {"command": ["sh", "-c", "echo drained > /data/hook"]}}},
        **MOUNT,
    )
    async with world.node():
        await world.put(pod(main, volumes=DATA["volumes"]))
        await eventually(world.ready)
    assert log(world).splitlines()[-1] == "drained"
    assert not pids_in(world.settings.data_dir)


async def test_a_volume_or_a_secret_that_is_not_here_is_told_in_kubernetes_words(world):
    wants = {"env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}
    async with world.node():
        await world.put(pod(shell("main", "sleep 60", **wants)))

        async def says() -> Body:
            (one, *_) = (await status(world)).get("containerStatuses", [{}])
            waiting: Body = one.get("state", {}).get("waiting", {})
            return waiting if waiting.get("reason") == "CreateContainerConfigError" else {}

        told = await eventually(says)
        assert "KEY comes from secretKeyRef" in told["message"]


@pytest.mark.parametrize(
    "check",
    [
        {"httpGet": {"port": 1, "host": "a b"}},
        {"exec": {"command": ["/no/such/program"]}},
    ],
)
async def test_a_probe_that_cannot_be_asked_has_failed(world, check):
    async with world.node():
        await world.put(pod(shell("main", "sleep 60", readinessProbe=check | {"periodSeconds": 0.05})))

        async def says_so() -> bool:
            conditions = {one["type"]: one for one in (await status(world)).get("conditions", ())}
            return "readiness probe" in conditions.get("Ready", {}).get("message", "")

        await eventually(says_so)


async def test_a_pod_that_cannot_be_read_is_refused_and_the_others_run(world):
    odd = pod(shell("main", "sleep 60", readinessProbe=["odd"]))
    odd["metadata"] |= {"name": "odd", "uid": "odd"}
    async with world.node():
        await world.put(odd)
        await world.put(pod(shell("main", "sleep 60")))
        await eventually(world.ready)

        async def is_refused() -> bool:
            found = await world.pod("odd")
            return found is not None and found.get("status", {}).get("reason") == "BadPod"

        await eventually(is_refused)


KILLED_NODE = """
import asyncio, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from support.node import World
from matrixinfer.bus.contracts.cluster import object_key

async def main():
    world = World(Path(sys.argv[1]))
    async with world.node():
        await world.put(json.loads(sys.argv[2]))
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_node_that_is_killed_among_init_containers_is_followed_by_one_that_goes_on(world, tmp_path):
    """Of the one that ran then nobody can tell how it ended: it alone runs once more."""
    counts = tmp_path / "counts"
    counts.mkdir()
    first = shell("first", f"echo x >> {counts}/first")
    second = shell("second", f"echo x >> {counts}/second; sleep 1")
    main = shell("main", f"echo x >> {counts}/main; sleep 60", readinessProbe=probe("sleep 30", timeoutSeconds=60))
    document = pod(main, init=(first, second))
    tests = str(Path(__file__).parents[2])
    node = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED_NODE, str(world.settings.data_dir), json.dumps(document), tests
    )
    await eventually(lambda: (counts / "second").exists(), timeout_s=15)
    node.kill()
    await node.wait()
    document["spec"]["nodeName"] = "local"
    await world.put(document)
    async with world.node():
        await eventually(lambda: (counts / "main").exists())
        assert [(counts / name).read_text() for name in ("first", "second", "main")] == ["x\n", "x\nx\n", "x\n"]
        await eventually(lambda: len(pids_in(world.settings.data_dir)) > 1)  # the container, and its probe
    await eventually(lambda: not pids_in(world.settings.data_dir))
