"""How the simulated engine reads from a body that its prompt is for another engine, or comes from one.

The fields are those of vLLM (`kv_transfer_params`) and of SGLang (`bootstrap_*`). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from matrixinfer.agents.engines.failures import bad_request
from matrixinfer.bus.contracts.frames import Failure

Mode = Literal["none", "prefill", "decode"]


class _Params(msgspec.Struct, gc=False):
    do_remote_decode: bool | None = None
    do_remote_prefill: bool | None = None
    remote_engine_id: str | None = None
    remote_request_id: str | None = None
    remote_host: str | None = None
    remote_port: int | None = None


class _Body(msgspec.Struct, gc=False):
    kv_transfer_params: _Params | None = None
    bootstrap_host: str | None = None
    bootstrap_port: int | None = None
    bootstrap_room: int | None = None


_body_of = msgspec.json.Decoder(_Body).decode


@dataclass(frozen=True)
class HandOver:
    """Keep the computed prompt under `name` until it is fetched; `tells_where`: the answer says where it is."""

    name: str
    tells_where: bool


@dataclass(frozen=True)
class Fetch:
    """The prompt is at `host:port` under `name`; `engine_id` (if not empty) names the life of that engine."""

    host: str
    port: int
    name: str
    engine_id: str = ""


def read(body: bytes, mode: Mode, rid: str) -> HandOver | Fetch | Failure | None:
    """None: an ordinary request. The body was read before, and is JSON."""
    if mode == "none":
        return None
    try:
        fields = _body_of(body)
    except msgspec.ValidationError as error:
        return bad_request(str(error), param="kv_transfer_params")
    return _hand_over(fields, rid) if mode == "prefill" else _fetch(fields)


def _hand_over(fields: _Body, rid: str) -> HandOver | None:
    if fields.bootstrap_room is not None:
        return HandOver(_room(fields.bootstrap_room), tells_where=False)
    params = fields.kv_transfer_params
    return HandOver(rid, tells_where=True) if params is not None and params.do_remote_decode else None


def _fetch(fields: _Body) -> Fetch | Failure | None:
    if fields.bootstrap_room is not None:
        name = _room(fields.bootstrap_room)
        return _checked(fields.bootstrap_host, fields.bootstrap_port, name, "", "bootstrap_host")
    params = fields.kv_transfer_params
    if params is None or not params.do_remote_prefill:
        return None
    name_there, engine_id = params.remote_request_id, params.remote_engine_id
    return _checked(params.remote_host, params.remote_port, name_there, engine_id, "kv_transfer_params")


def where(name: str, engine_id: str, address: tuple[str, int], blocks: int) -> dict[str, Any]:
    """The `kv_transfer_params` of an answer: with them in its body the other engine finds the prompt."""
    return {
        "do_remote_prefill": True,
        "do_remote_decode": False,
        "remote_engine_id": engine_id,
        "remote_request_id": name,
        "remote_block_ids": list(range(blocks)),
        "remote_host": address[0],
        "remote_port": address[1],
    }


def _room(room: int) -> str:
    return f"room {room}"


def _checked(
    host: str | None, port: int | None, name: str | None, engine_id: str | None, field: str
) -> Fetch | Failure:
    if not host or not port or not name:
        return bad_request(f"expected {field} to name the engine that has the prompt: host, port and request", field)
    return Fetch(host, port, name, engine_id or "")
