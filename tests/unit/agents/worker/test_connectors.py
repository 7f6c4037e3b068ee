"""What each half's engine is given."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.agents.worker.connectors import decode_body, params_of, prefill_body
from matrixinfer.bus.contracts.disaggregation import Connector, Counterpart
from support.halves import counterpart

CONNECTORS: list[Connector] = ["sglang", "nixl", "mooncake", "lmcache", "http"]
BODY = b'{"model":"m", "messages":[{"role":"user","content":"\\u00e9 x"}],"max_tokens":9,"temperature":1.50,"n":2}'


def fields(body: bytes) -> dict[str, bytes]:
    return {name: bytes(raw) for name, raw in msgspec.json.decode(body, type=dict[str, msgspec.Raw]).items()}


def value(body: bytes, name: str) -> Any:
    return msgspec.json.decode(fields(body)[name])


@pytest.mark.parametrize("connector", CONNECTORS)
def test_a_prefill_makes_one_token_and_no_stream(connector: Connector) -> None:
    client = b'{"prompt":"x","stream":true,"stream_options":{"include_usage":true},"min_tokens":5,"max_tokens":99}'
    made = fields(prefill_body(client, counterpart(connector)))
    assert made["max_tokens"] == b"1"
    assert not made.keys() & {"stream", "stream_options", "min_tokens", "max_completion_tokens"}


def test_a_limit_by_another_name_is_one_too_and_a_missing_one_is_added() -> None:
    made = fields(prefill_body(b'{"max_completion_tokens":7}', counterpart()))
    assert (made["max_completion_tokens"], made["max_tokens"]) == (b"1", b"1")


@pytest.mark.parametrize("connector", CONNECTORS)
def test_all_that_is_not_named_stays_byte_for_byte(connector: Connector) -> None:
    client = fields(BODY)
    for made in (prefill_body(BODY, counterpart(connector)), decode_body(BODY, counterpart(connector), b"{}")):
        kept = fields(made)
        assert {name: kept[name] for name in client if name != "max_tokens"} == {
            name: raw for name, raw in client.items() if name != "max_tokens"
        }
    assert fields(decode_body(BODY, counterpart(connector), b"{}"))["max_tokens"] == b"9"


@pytest.mark.parametrize("connector", ["nixl", "mooncake"])
def test_params_go_from_the_prefill_engines_answer_into_the_decode_body(connector: Connector) -> None:
    asked = value(prefill_body(BODY, counterpart(connector)), "kv_transfer_params")
    assert (asked["do_remote_decode"], asked["do_remote_prefill"], asked["remote_host"]) == (True, False, None)
    params = params_of(b'{"choices":[],"kv_transfer_params":{"remote_port": 5.0, "x":[1, 2]},"usage":{}}')
    assert params == b'{"remote_port": 5.0, "x":[1, 2]}'
    assert fields(decode_body(BODY, counterpart(connector), params))["kv_transfer_params"] == params


@pytest.mark.parametrize("connector", ["lmcache", "http"])
def test_engines_that_share_a_cache_are_told_nothing_and_decode_is_the_clients_body(connector: Connector) -> None:
    assert decode_body(BODY, counterpart(connector), b"") == BODY
    assert "kv_transfer_params" not in fields(prefill_body(BODY, counterpart(connector)))


@pytest.mark.parametrize(
    ("bootstrap", "host", "port"),
    [("10.0.0.1:8998", "10.0.0.1", 8998), ("[fd00::1]:8998", "fd00::1", 8998), ("a.svc:1", "a.svc", 1)],
)
def test_both_engines_of_sglang_are_told_the_same_meeting_point(bootstrap: str, host: str, port: int) -> None:
    other = Counterpart("sglang", "p", "b", 1.0, 1.0, bootstrap, (1 << 62) + 1)
    for made in (prefill_body(BODY, other), decode_body(BODY, other, b"")):
        assert [value(made, f"bootstrap_{name}") for name in ("host", "port", "room")] == [host, port, (1 << 62) + 1]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'"x"', b'{"a":}'])
@pytest.mark.parametrize("connector", CONNECTORS)
def test_what_is_no_object_goes_to_the_engine_as_it_is(connector: Connector, body: bytes) -> None:
    assert prefill_body(body, counterpart(connector)) == decode_body(body, counterpart(connector), b"{}") == body


@pytest.mark.parametrize("answer", [b"", b"{", b"[]", b"{}", b'{"kv_transfer_params":null}', b"\xff"])
def test_an_answer_without_params_has_none(answer: bytes) -> None:
    assert params_of(answer) == b""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON), st.sampled_from(CONNECTORS))
def test_a_decode_body_is_the_clients_plus_the_connectors_fields(client: dict[str, Any], connector: Connector) -> None:
    made = msgspec.json.decode(decode_body(msgspec.json.encode(client), counterpart(connector), b'{"p":1}'))
    added = {"bootstrap_host", "bootstrap_port", "bootstrap_room"} if connector == "sglang" else set()
    if connector in ("nixl", "mooncake"):
        added = {"kv_transfer_params"}
    assert {name: made[name] for name in made.keys() - added} == {n: v for n, v in client.items() if n not in added}
    assert added <= made.keys()
