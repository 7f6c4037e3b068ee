"""What the engines of the two halves of a request are given: bodies, made of the client's, for each connector.

An engine behind the port sees nothing but its body. What is not named here stays as the client wrote it, byte for byte.
The fields are those that the engines read: `bootstrap_*` are SGLang's, `kv_transfer_params` vLLM's, for its connectors
NIXL and Mooncake; engines that share an LMCache need no word. Pure.
"""

from __future__ import annotations

import msgspec

from matrixinfer.bus.contracts.disaggregation import Connector, Counterpart

AT_ONCE: frozenset[Connector] = frozenset({"sglang"})
"""Both engines begin together and meet by themselves; a decode engine of these cannot compute a prompt."""
WITH_PARAMS: frozenset[Connector] = frozenset({"nixl", "mooncake"})
"""The prefill engine's answer says where its cache is."""

_ONE = msgspec.Raw(b"1")
_DROPPED = ("stream", "stream_options", "min_tokens")
_HOLD_FOR_ANOTHER = msgspec.Raw(
    b'{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,'
    b'"remote_host":null,"remote_port":null}'
)

_Fields = dict[str, msgspec.Raw]
_fields_of = msgspec.json.Decoder(_Fields).decode


class _Answer(msgspec.Struct):
    kv_transfer_params: msgspec.Raw = msgspec.Raw(b"null")


_answer_of = msgspec.json.Decoder(_Answer).decode


def prefill_body(body: bytes, counterpart: Counterpart) -> bytes:
    """The prompt, whole and not streamed, with one token. What is no JSON object stays as it is: the engine says so."""
    fields = _read(body)
    if fields is None:
        return body
    for name in _DROPPED:
        fields.pop(name, None)
    fields["max_tokens"] = _ONE
    if "max_completion_tokens" in fields:
        fields["max_completion_tokens"] = _ONE
    if counterpart.connector in WITH_PARAMS:
        fields["kv_transfer_params"] = _HOLD_FOR_ANOTHER
    _add_meeting_point(fields, counterpart)
    return msgspec.json.encode(fields)


def decode_body(body: bytes, counterpart: Counterpart, params: bytes) -> bytes:
    """The client's body, with where the cache comes from: `params` of the prefill engine, or the place to meet it."""
    fields = _read(body)
    if fields is None or counterpart.connector not in AT_ONCE | WITH_PARAMS:
        return body
    if counterpart.connector in WITH_PARAMS:
        fields["kv_transfer_params"] = msgspec.Raw(params)
    _add_meeting_point(fields, counterpart)
    return msgspec.json.encode(fields)


def params_of(answer: bytes) -> bytes:
    """What a prefill engine says about its cache, as JSON; nothing when it says nothing."""
    try:
        params = bytes(_answer_of(answer).kv_transfer_params)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return b""
    return b"" if params == b"null" else params


def _read(body: bytes) -> _Fields | None:
    try:
        return _fields_of(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _add_meeting_point(fields: _Fields, counterpart: Counterpart) -> None:
    if counterpart.connector not in AT_ONCE:
        return
    host, _, port = counterpart.bootstrap.rpartition(":")
    fields["bootstrap_host"] = msgspec.Raw(msgspec.json.encode(host.strip("[]")))
    fields["bootstrap_port"] = msgspec.Raw(port.encode() if port.isdigit() else b"null")
    fields["bootstrap_room"] = msgspec.Raw(str(counterpart.room).encode())
