"""`doctor` looks at the server as it is: a look that mends would find nothing to tell."""

from __future__ import annotations

from pathlib import Path

from matrixinfer.bus.clock import SystemClock
from matrixinfer.bus.jetstream import drift
from matrixinfer.bus.jetstream.connection import Connection
from matrixinfer.bus.settings import BusSettings
from matrixinfer.cli.checks import examine
from matrixinfer.cli.findings import Finding
from matrixinfer.cli.running import connected as visiting
from support.nats import connected, running_server


async def finding_of(subject: str, url: str) -> Finding:
    return next(one for one in [one async for one in examine(None, None, url)] if one.subject == subject)


async def test_drift_is_told_and_still_there_after_a_look(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, connected(server.url) as bus:
        assert isinstance(bus.link, Connection)
        assert (await finding_of("topology", server.url)).verdict == "fine"
        config = (await bus.link.api.call("STREAM.INFO.REQUESTS"))["config"]
        await bus.link.api.call("STREAM.UPDATE.REQUESTS", {**config, "max_msgs": 7})
        for _ in range(2):
            found = await finding_of("topology", server.url)
            assert found.verdict == "wrong"
            assert found.text == "stream REQUESTS: max_msgs is 7, expected 200000"


async def test_a_server_that_nobody_prepared_is_left_as_it_is(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        async with visiting(server.url, None):
            pass
        found = await finding_of("topology", server.url)
        assert "stream REQUESTS does not exist" in found.text
        assert "stream REQUESTS does not exist" in await drift(BusSettings(url=server.url), SystemClock())
