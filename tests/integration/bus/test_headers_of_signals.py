"""Headers that a client of its own sets on a message reach the handler; messages of ours have none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nats

from matrixinfer.bus.ports import Signal
from support.eventually import eventually
from support.nats import connected, running_server


async def test_a_foreign_clients_headers_are_heard_by_their_names_in_lower_case(tmp_path: Path) -> None:
    heard: list[tuple[bytes, Mapping[bytes, bytes]]] = []

    async def hear(signal: Signal) -> None:
        heard.append((signal.data, signal.headers))

    async with running_server(tmp_path) as server, connected(server.url) as bus:
        await bus.signals.subscribe("mi.api.>", hear)
        client = await nats.connect(server.url)
        try:
            await client.publish("mi.api.t.completions", b"1", headers={"X-Priority": "-2", "x-session-id": "a: b"})
            await client.publish("mi.api.t.completions", b"2")
            await client.flush()
            await bus.signals.publish("mi.api.t.completions", b"3")
            await eventually(lambda: len(heard) == 3)
        finally:
            await client.close()
    assert dict(heard) == {b"1": {b"x-priority": b"-2", b"x-session-id": b"a: b"}, b"2": {}, b"3": {}}
