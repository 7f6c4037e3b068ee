"""What a body says of its prompt being elsewhere."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from matrixinfer.agents.engines.simulated.kv_fields import Fetch, HandOver, Mode, read, where
from matrixinfer.bus.contracts.frames import Failure

ROOM = {"bootstrap_host": "h", "bootstrap_port": 1, "bootstrap_room": 7}
ASKING = {"kv_transfer_params": {"do_remote_decode": True, "do_remote_prefill": False, "remote_host": None}}
TOLD = {"kv_transfer_params": where("r", "e", ("h", 1), 2)}


@pytest.mark.parametrize(
    ("mode", "body", "expected"),
    [
        ("none", ROOM, None),
        ("none", TOLD, None),
        ("prefill", {}, None),
        ("prefill", ROOM, HandOver("room 7", tells_where=False)),
        ("prefill", ASKING, HandOver("rid", tells_where=True)),
        ("prefill", TOLD, None),
        ("decode", {}, None),
        ("decode", {"kv_transfer_params": None}, None),
        ("decode", ASKING, None),
        ("decode", ROOM, Fetch("h", 1, "room 7")),
        ("decode", TOLD, Fetch("h", 1, "r", "e")),
    ],
)
def test_each_mode_reads_its_own_side(mode: Mode, body: dict[str, Any], expected: object) -> None:
    assert read(msgspec.json.encode(body), mode, "rid") == expected


@pytest.mark.parametrize(
    "body",
    [
        {"bootstrap_room": 7},
        {"bootstrap_room": "seven"},
        {"kv_transfer_params": {"do_remote_prefill": True}},
        {"kv_transfer_params": 1},
    ],
)
def test_half_an_address_is_the_clients_mistake(body: dict[str, Any]) -> None:
    failure = read(msgspec.json.encode(body), "decode", "rid")
    assert isinstance(failure, Failure)
    assert failure.status == 400
