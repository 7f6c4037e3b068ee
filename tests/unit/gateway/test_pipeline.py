from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.bus.contracts.serving import Pool, Route, Rule, Target
from matrixinfer.gateway.errors import BadRequest, BodyTooLarge, ModelNotFound, NotReady, Overloaded
from matrixinfer.gateway.pipeline import body, limits
from matrixinfer.gateway.pipeline.auth import tenant_of
from matrixinfer.gateway.pipeline.routing import RouteTable

CHAT = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]'


@pytest.mark.parametrize(
    ("endpoint", "text", "param", "says"),
    [
        ("chat.completions", b'{"model": "m", ', "", "not JSON"),
        ("chat.completions", b'{"model": "m" "x"}', "", "byte 14"),
        ("chat.completions", b"", "", "not JSON"),
        ("chat.completions", b"[]", "", "not valid"),
        ("chat.completions", b'{"messages": [1]}', "model", "`model`"),
        ("chat.completions", b'{"model": "m"}', "messages", "`messages`"),
        ("chat.completions", b'{"model": "m", "messages": []}', "messages", "at least one"),
        ("chat.completions", b'{"model": "m", "messages": "hi"}', "messages", "array"),
        ("chat.completions", CHAT + b', "max_tokens": "many"}', "max_tokens", "int"),
        ("chat.completions", CHAT + b', "max_tokens": -1}', "max_tokens", "positive"),
        ("chat.completions", CHAT + b', "max_tokens": 18446744073709551616}', "max_tokens", "2147483647 at most"),
        ("chat.completions", CHAT + b', "max_completion_tokens": 2147483648}', "max_completion_tokens", "at most"),
        ("chat.completions", CHAT + b', "x": ' + b"[" * 5000 + b"]" * 5000 + b"}", "", "nested"),
        ("chat.completions", b'{"model": "\xff", "messages": [1]}', "", "UTF-8"),
        ("chat.completions", CHAT + b', "stream": 1}', "stream", "bool"),
        ("completions", CHAT + b"}", "prompt", "`prompt`"),
        ("completions", b'{"model": "m", "prompt": 5}', "prompt", "`prompt`"),
    ],
)
def test_a_wrong_body_is_refused_with_the_field_or_the_position(endpoint, text, param, says):
    with pytest.raises(BadRequest, match=says) as caught:
        body.read(text, endpoint)
    assert caught.value.failure().param == param
    assert caught.value.failure().status == 400


def test_what_the_gateway_needs_is_read_and_unknown_fields_do_not_matter():
    asked = body.read(CHAT + b', "stream": true, "max_completion_tokens": 9, "nvext": {"a": [1]}}', "chat.completions")
    assert (asked.model, asked.stream, asked.output_bound) == ("m", True, 9)
    assert body.read(b'{"model": "m", "prompt": [1, 2]}', "completions").output_bound == 0


@given(
    st.dictionaries(st.text(), st.recursive(st.none() | st.floats(allow_nan=False) | st.text(), st.lists), max_size=5)
)
def test_rewriting_the_model_changes_nothing_else(fields):
    text = msgspec.json.encode(fields | {"model": "old"})
    assert msgspec.json.decode(body.with_model(text, "new")) == msgspec.json.decode(text) | {"model": "new"}


def route(model: str, *targets: Target, name: str = "r", created_s: float = 0.0, **more) -> Route:
    return Route("default", name, model, more.pop("rules", [Rule(list(targets))]), created_s=created_s, **more)


def pool(name: str, shards: int = 1) -> Pool:
    return Pool("default", name, "Simulated", shards)


def test_weights_spread_requests_and_a_target_without_pool_gets_none():
    targets = [Target("a", 75), Target("b", 25), Target("gone", 1000)]
    table, rng = RouteTable([route("m", *targets)], [pool("a"), pool("b")]), Random(1)
    chosen = [table.choose("m", {}, rng).modelserver for _ in range(4000)]
    assert set(chosen) == {"a", "b"}
    assert 0.72 < chosen.count("a") / len(chosen) < 0.78


def test_weights_that_are_all_zero_mean_equal():
    table, rng = RouteTable([route("m", Target("a", 0), Target("b", 0))], [pool("a"), pool("b")]), Random(1)
    assert {table.choose("m", {}, rng).modelserver for _ in range(50)} == {"a", "b"}


def test_the_first_rule_whose_headers_match_wins():
    rules = [Rule([Target("beta")], {"X-Lane": "beta"}), Rule([Target("main")])]
    table = RouteTable([route("m", rules=rules)], [pool("beta"), pool("main")])
    assert table.choose("m", {b"x-lane": b"beta"}, Random()).modelserver == "beta"
    assert table.choose("m", {b"x-lane": b"other"}, Random()).modelserver == "main"
    assert table.choose("m", {}, Random()).modelserver == "main"


def test_of_two_routes_for_a_model_the_oldest_wins():
    new, old = route("m", Target("new"), name="a", created_s=2), route("m", Target("old"), name="z", created_s=1)
    table = RouteTable([new, old], [pool("new"), pool("old")])
    assert table.choose("m", {}, Random()).modelserver == "old"


def test_an_adapter_is_a_model_of_its_own_and_is_never_rewritten():
    table = RouteTable([route("m", Target("a", model="base"), adapters=["lora"])], [pool("a")])
    assert table.choose("lora", {}, Random()).adapter == "lora"
    assert table.choose("lora", {}, Random()).rewrite_model == ""
    assert table.choose("m", {}, Random()).rewrite_model == "base"
    assert [(m.name, m.parent) for m in table.models()] == [("lora", "m"), ("m", "")]


def test_shards_are_all_used():
    table, rng = RouteTable([route("m", Target("a"))], [pool("a", shards=3)]), Random(1)
    assert {table.choose("m", {}, rng).shard for _ in range(100)} == {0, 1, 2}


def test_an_unknown_model_is_answered_with_those_that_exist_when_they_are_few():
    with pytest.raises(ModelNotFound, match="no model is served yet"):
        RouteTable().choose("m", {}, Random())
    with pytest.raises(ModelNotFound, match="these do: a, b"):
        RouteTable([route("b", Target("x")), route("a", Target("x"))]).choose("m", {}, Random())
    with pytest.raises(ModelNotFound, match="lists the 40"):
        RouteTable([route(f"m{n}", Target("x")) for n in range(40)]).choose("m", {}, Random())


def test_a_route_that_leads_nowhere_is_not_ready_or_matches_nothing():
    with pytest.raises(NotReady):
        RouteTable([route("m", Target("a"))]).choose("m", {}, Random())
    with pytest.raises(ModelNotFound, match="no rule"):
        RouteTable([route("m", rules=[Rule([Target("a")], {"h": "v"})])], [pool("a")]).choose("m", {}, Random())


@pytest.mark.parametrize(
    ("asked", "route_s", "expected"),
    [
        (None, 0.0, 300.0),
        (None, 20.0, 20.0),
        (None, 9999.0, 600.0),
        (b"7.5", 20.0, 7.5),
        (b"0.01", 0, 1),
        (b"1e9", 0, 600),
    ],
)
def test_the_deadline_is_the_clients_then_the_routes_then_the_default(asked, route_s, expected):
    assert limits.deadline_s(asked, route_s, 300.0, 600.0) == expected


@pytest.mark.parametrize(("asked", "expected"), [(None, 0), (b"0", 0), (b"-4", -4), (b"-0", 0), (b"2", 2)])
def test_the_priority_is_the_clients_within_its_range(asked, expected):
    assert limits.priority(asked, -4, 2) == expected


@pytest.mark.parametrize("asked", [b"3", b"-5", b"1.0", b"+1", b" 1", b"high", b"", b"\xb2", b"9" * 5000])
def test_a_priority_out_of_range_or_that_is_none_is_refused_with_the_range(asked):
    with pytest.raises(BadRequest, match="x-priority: expected a whole number from -4 to 2, met"):
        limits.priority(asked, -4, 2)


@pytest.mark.parametrize("asked", [b"soon", b"-1", b"0", b"nan", b""])
def test_a_deadline_that_is_no_time_is_refused(asked):
    with pytest.raises(BadRequest, match="x-request-timeout-s"):
        limits.deadline_s(asked, 0.0, 300.0, 600.0)


def test_bounds_hold_exactly():
    limits.check_body(10, 10)
    limits.check_in_flight(9, 10)
    with pytest.raises(BodyTooLarge):
        limits.check_body(11, 10)
    with pytest.raises(Overloaded) as caught:
        limits.check_in_flight(10, 10)
    assert caught.value.failure().retry_after_s > 0


def test_the_tenant_comes_from_a_header_only_when_that_is_trusted():
    headers = {b"x-tenant": b"acme"}
    assert tenant_of(headers, b"") == "default"
    assert tenant_of(headers, b"x-tenant") == "acme"
    assert tenant_of({}, b"x-tenant") == "default"
    with pytest.raises(BadRequest, match="129 characters"):
        tenant_of({b"x-tenant": b"a" * 129}, b"x-tenant")
