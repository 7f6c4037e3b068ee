"""What counts as a difference between topology and server, and which servers are too old."""

from __future__ import annotations

import pytest

from matrixinfer.bus.errors import Conflict, Incompatible, QueueFull, TooLarge, Unavailable
from matrixinfer.bus.jetstream.connection import inbox_prefix, without_password
from matrixinfer.bus.jetstream.declare import check_level, differences, wanted
from matrixinfer.bus.jetstream.names import Names
from matrixinfer.bus.jetstream.refusals import Refused, refusal


def test_what_the_server_leaves_out_is_no_difference() -> None:
    want = {"name": "WORK", "max_bytes": 5, "allow_msg_schedules": False, "subjects": ["mi.work.>"]}
    assert differences(want, {"name": "WORK", "max_bytes": 5, "subjects": ["mi.work.>"], "sealed": False}) == []


def test_a_difference_names_stream_field_and_both_values() -> None:
    want = {"name": "WORK", "max_bytes": 5}
    assert differences(want, {"name": "WORK", "max_bytes": 6}) == ["stream WORK: max_bytes is 6, expected 5"]


def test_installations_have_streams_of_their_own() -> None:
    one, two = ({str(want["name"]) for want in wanted(Names(prefix), 1)} for prefix in ("mi", "two"))
    assert {"REQUESTS", "KV_LEASES"} <= one
    assert {"two_REQUESTS", "KV_two_LEASES"} <= two
    assert not one & two
    assert Names("two").stream_of("two_REQUESTS") == "REQUESTS"


def test_a_server_whose_api_level_is_too_old_is_refused_with_both_levels() -> None:
    check_level({"api": {"level": 2}})
    with pytest.raises(Incompatible, match="API level 1, this bus needs 2"):
        check_level({"api": {"level": 1}})
    with pytest.raises(Incompatible, match="API level 0"):
        check_level({})


@pytest.mark.parametrize(
    ("code", "description", "expected"),
    [
        (10077, "maximum messages per subject exceeded", QueueFull),
        (10077, "maximum bytes exceeded", QueueFull),
        (10077, "no space left on device", Unavailable),
        (10047, "insufficient storage resources available", QueueFull),
        (10054, "message size exceeds maximum allowed", TooLarge),
        (10071, "wrong last sequence: 5", Conflict),
        (10039, "jetstream not enabled for account", Incompatible),
        (10058, "stream name already in use", Refused),
    ],
)
def test_the_servers_codes_become_the_buss_errors(code: int, description: str, expected: type[Exception]) -> None:
    assert type(refusal(code, description, "mi.work.ns.pod")) is expected


def test_more_copies_than_the_server_keeps_are_refused_with_advice() -> None:
    refused = refusal(10074, "replicas > 1 not supported in non-clustered mode", "STREAM.CREATE.REQUESTS")
    assert type(refused) is Incompatible
    assert "set MATRIXINFER_BUS_REPLICAS to 1" in str(refused)


def test_each_user_has_inboxes_of_its_own_and_no_password_is_shown() -> None:
    assert inbox_prefix("nats://agent:secret@127.0.0.1:4222") == "_INBOX.agent"
    assert inbox_prefix("nats://127.0.0.1:4222") == "_INBOX"
    assert without_password("nats://agent:secret@a:1,nats://agent:secret@b:2") == "a:1,b:2"
