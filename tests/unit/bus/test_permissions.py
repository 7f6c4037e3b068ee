"""The server's permissions hold what the topology says and nothing wider."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from matrixinfer.bus.memory.matching import matches
from matrixinfer.bus.server.config import render, store_bytes
from matrixinfer.bus.server.permissions import permissions
from matrixinfer.bus.server.record import new_record, read_record, write_private
from matrixinfer.bus.topology import Part, Storage


def may(part: Part, verb: str, subject: str, prefix: str = "mi") -> bool:
    allowed = permissions(part, prefix)
    if allowed is None:
        return True
    return any(matches(pattern, subject) for pattern in allowed[verb]["allow"])


@pytest.mark.parametrize(
    ("part", "verb", "subject", "allowed"),
    [
        (Part.GATEWAY, "publish", "mi.infer.ns.ms.0.t", True),
        (Part.GATEWAY, "publish", "mi.work.ns.pod", False),
        (Part.GATEWAY, "subscribe", "mi.frames.g1", True),
        (Part.GATEWAY, "subscribe", "_INBOX.gateway.x.1", True),
        (Part.GATEWAY, "subscribe", "_INBOX.handlers.x.1", False),
        (Part.GATEWAY, "publish", "$JS.API.CONSUMER.MSG.NEXT.REQUESTS.d-1", False),
        (Part.GATEWAY, "publish", "$KV.LEASES.pool.a", False),
        (Part.GATEWAY, "publish", "$JS.API.STREAM.MSG.GET.KV_LEASES", False),
        (Part.GATEWAY, "publish", "mi.body.ns.ms.rid", True),
        (Part.GATEWAY, "publish", "$JS.API.STREAM.PURGE.BODIES", True),
        (Part.GATEWAY, "publish", "$JS.API.DIRECT.GET.BODIES.mi.body.ns.ms.rid", False),
        (Part.HANDLERS, "publish", "$JS.API.DIRECT.GET.BODIES.mi.body.ns.ms.rid", False),
        (Part.AGENT, "publish", "$JS.API.DIRECT.GET.BODIES.mi.body.ns.ms.rid", True),
        (Part.AGENT, "publish", "mi.body.ns.ms.rid", False),
        (Part.AGENT, "publish", "$JS.API.STREAM.PURGE.BODIES", False),
        (Part.AGENT, "publish", "$JS.API.CONSUMER.MSG.NEXT.WORK.a-ns-pod", True),
        (Part.AGENT, "publish", "$JS.API.CONSUMER.MSG.NEXT.REQUESTS.d-1", False),
        (Part.AGENT, "publish", "$JS.API.STREAM.MSG.GET.REQUESTS", False),
        (Part.AGENT, "publish", "$JS.ACK.WORK.a.1.2.3.4.5", True),
        (Part.AGENT, "publish", "$JS.ACK.REQUESTS.a.1.2.3.4.5", False),
        (Part.AGENT, "publish", "$KV.SERVING.pool.a", False),
        (Part.AGENT, "publish", "$JS.API.STREAM.DELETE.WORK", False),
        (Part.AGENT, "publish", "mi.cache.ns.pod", True),
        (Part.HANDLERS, "subscribe", "mi.cache.ns.pod", True),
        (Part.GATEWAY, "subscribe", "mi.cache.ns.pod", False),
        (Part.HANDLERS, "publish", "$KV.SERVING.pool.a", True),
        (Part.HANDLERS, "publish", "$JS.API.STREAM.UPDATE.WORK", True),
        (Part.HANDLERS, "publish", "$JS.API.STREAM.PURGE.WORK", False),
        (Part.NODE, "publish", "mi.work.ns.pod", False),
        (Part.OPERATOR, "publish", "$JS.API.STREAM.DELETE.WORK", True),
    ],
)
def test_a_part_may_do_what_its_rights_say(part: Part, verb: str, subject: str, allowed: bool) -> None:
    assert may(part, verb, subject) is allowed


def test_another_installations_subjects_and_streams_are_out_of_reach() -> None:
    assert may(Part.GATEWAY, "publish", "two.infer.ns.ms.0.t", prefix="two")
    assert not may(Part.GATEWAY, "publish", "mi.infer.ns.ms.0.t", prefix="two")
    assert may(Part.AGENT, "publish", "$JS.API.CONSUMER.MSG.NEXT.two_WORK.a", prefix="two")
    assert not may(Part.AGENT, "publish", "$JS.API.CONSUMER.MSG.NEXT.WORK.a", prefix="two")
    assert may(Part.AGENT, "publish", "$JS.API.DIRECT.GET.two_BODIES.two.body.ns.ms.rid", prefix="two")
    assert not may(Part.AGENT, "publish", "$JS.API.DIRECT.GET.BODIES.mi.body.ns.ms.rid", prefix="two")


def test_the_servers_limits_hold_the_whole_topology_several_times(tmp_path: Path) -> None:
    config = json.loads(render(new_record(4222, "mi"), tmp_path))
    assert config["jetstream"]["max_file_store"] >= 2 * store_bytes(Storage.FILE)
    assert config["jetstream"]["max_memory_store"] >= 2 * store_bytes(Storage.MEMORY)
    assert {user["user"] for user in config["authorization"]["users"]} == {part.value for part in Part}


def test_a_record_is_readable_by_its_owner_only_and_gives_urls(tmp_path: Path) -> None:
    import msgspec

    assert read_record(tmp_path) is None
    record = new_record(4711, "mi")
    write_private(tmp_path / "server.json", msgspec.json.encode(record).decode())
    assert (tmp_path / "server.json").stat().st_mode & 0o777 == 0o600
    assert read_record(tmp_path) == record
    assert record.url(Part.AGENT) == f"nats://agent:{record.passwords['agent']}@127.0.0.1:4711"
    assert len(set(record.passwords.values())) == len(Part)
