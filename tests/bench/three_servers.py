"""Three nats-servers in one cluster, three copies of each stream: what high availability costs a request."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

from msgspec.structs import replace

from matrixinfer.bus.server.binary import find_server
from matrixinfer.bus.server.config import render
from matrixinfer.bus.server.process import greets
from matrixinfer.bus.server.record import ServerRecord, free_port, new_record
from matrixinfer.bus.topology import Part
from support.eventually import eventually

COUNT = 3


class ThreeServers:
    """The same face as EmbeddedServer: `start`, `url(part)`, `pids`, `stop`."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        first = new_record(free_port(), "mi")
        self._records = [first, *(replace(first, port=free_port()) for _ in range(COUNT - 1))]
        self._routes = [free_port() for _ in range(COUNT)]
        self._children: list[subprocess.Popen[bytes]] = []

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in self._children]

    def url(self, part: Part) -> str:
        return ",".join(record.url(part) for record in self._records)

    async def start(self) -> None:
        for index, record in enumerate(self._records):
            self._spawn(index, record)
        for record in self._records:
            await eventually(lambda port=record.port: greets(port), timeout_s=15)
        await asyncio.sleep(3)  # until they have elected a leader

    async def stop(self) -> None:
        for child in self._children:
            child.terminate()
            await asyncio.to_thread(child.wait, 30)

    def _spawn(self, index: int, record: ServerRecord) -> None:
        folder = self._data_dir / str(index)
        folder.mkdir(parents=True)
        config = folder / "nats-server.conf"
        config.write_text(json.dumps(self._config(index, record, folder)))
        with (folder / "nats-server.log").open("wb") as log:
            self._children.append(subprocess.Popen([str(find_server()), "-c", str(config)], stdout=log, stderr=log))

    def _config(self, index: int, record: ServerRecord, folder: Path) -> dict[str, object]:
        config: dict[str, object] = json.loads(render(record, folder))
        routes = [f"nats://127.0.0.1:{port}" for port in self._routes]
        config["server_name"] = f"bench-{index}"
        config["cluster"] = {"name": "bench", "listen": f"127.0.0.1:{self._routes[index]}", "routes": routes}
        return config
