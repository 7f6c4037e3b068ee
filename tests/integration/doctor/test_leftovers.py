"""`doctor` finds on a real server what nobody takes, and leaves it there."""

from __future__ import annotations

from pathlib import Path

from matrixinfer.bus.bus import Bus
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.dead import DeadLetter
from matrixinfer.bus.contracts.serving import Pool, pool_key
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.settings import BusSettings
from matrixinfer.cli.findings import Finding
from matrixinfer.cli.leftovers import leftovers
from support.nats import connected, running_server


async def findings(bus: Bus, url: str) -> dict[str, Finding]:
    return {finding.subject: finding async for finding in leftovers(bus, BusSettings(url=url))}


async def test_dead_letters_and_lost_requests_are_told_and_left_where_they_are(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, connected(server.url) as bus:
        await bus.store("SERVING").put(pool_key("default", "here"), encode(Pool("default", "here", "Simulated")))
        found = await findings(bus, server.url)
        assert {finding.verdict for finding in found.values()} == {"fine"}
        for number, modelserver in enumerate(("here", "gone", "gone")):
            subject = bus.subjects.infer("default", modelserver, 0, f"tenant-{number}")
            await (await bus.queue.post(subject, b"", message_id=f"r{number}"))
        for reason in ("first", "second"):
            await bus.queue.bury(DeadLetter("REQUESTS", "s", reason, reason, bus.clock.now(), b""))
        for _ in range(2):
            found = await findings(bus, server.url)
            assert found["requests"].text == "2 wait for a pool that does not exist: default/gone (shard 0): 2"
            assert found["dead letters"].text.startswith("2; the newest: REQUESTS, second, ")


async def test_a_stream_that_is_missing_is_a_finding_too(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, connected(server.url) as bus:
        assert isinstance(bus.link, Connection)
        await bus.link.api.call("STREAM.DELETE.DEAD")
        found = await findings(bus, server.url)
        assert found["requests"].verdict == "wrong"
        assert "cannot be read" in found["requests"].text
