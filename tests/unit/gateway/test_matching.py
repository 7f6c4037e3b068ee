"""Rules with conditions, fallbacks, and pools that are not for everybody."""

from __future__ import annotations

from random import Random

import pytest

from matrixinfer.bus.contracts.serving import Pool, Route, Rule, Target, TextMatch
from matrixinfer.gateway.errors import ModelNotFound
from matrixinfer.gateway.pipeline.routing import RouteTable


def route(*rules: Rule, adapters: list[str] | None = None, timeout_s: float = 0.0) -> Route:
    return Route("default", "r", "m", list(rules), adapters or [], timeout_s=timeout_s)


def pool(name: str, **fields) -> Pool:
    return Pool("default", name, "Simulated", **fields)


def chosen(table: RouteTable, headers: dict[bytes, bytes] | None = None, model: str = "m", **asked) -> str:
    return table.choose(model, headers or {}, Random(1), **asked).modelserver


@pytest.mark.parametrize(
    ("match", "matching", "other"),
    [
        (TextMatch("exact", "beta"), b"beta", b"beta2"),
        (TextMatch("prefix", "be"), b"beta", b"abe"),
        (TextMatch("regex", "be[a-z]+"), b"beta", b"beta2"),
        (TextMatch("regex", "b.*"), "bä".encode("latin-1"), b"a"),
        (TextMatch("exact", "bä"), "bä".encode(), "bä".encode("latin-1")),
        (TextMatch("prefix", "bä"), "bäta".encode(), b"ba"),
        (TextMatch("regex", "b."), "bä".encode(), b"bab"),
    ],
)
def test_a_header_is_compared_as_the_rule_says(match, matching, other):
    rules = Rule([Target("special")], header_matches={"X-Lane": match}), Rule([Target("main")])
    table = RouteTable([route(*rules)], [pool("special"), pool("main")])
    assert chosen(table, {b"x-lane": matching}) == "special"
    assert chosen(table, {b"x-lane": other}) == "main"
    assert chosen(table) == "main"


def test_path_and_model_are_compared_too_and_all_must_match():
    lora_only = Rule([Target("lora")], model="l", path=TextMatch("prefix", "/v1/chat"))
    table = RouteTable([route(lora_only, Rule([Target("main")]), adapters=["l"])], [pool("lora"), pool("main")])
    assert chosen(table, model="l", path="/v1/chat/completions") == "lora"
    assert chosen(table, model="l", path="/v1/completions") == "main"
    assert chosen(table, model="m", path="/v1/chat/completions") == "main"


@pytest.mark.parametrize("match", [TextMatch("regex", "("), TextMatch("regex", r"(.)\1"), TextMatch("newer", "x")])
def test_what_another_version_wrote_and_this_one_cannot_read_matches_nothing(match):
    rules = Rule([Target("special")], path=match), Rule([Target("main")])
    table = RouteTable([route(*rules)], [pool("special"), pool("main")])
    assert chosen(table, path="(") == "main"


def test_the_first_fallback_with_a_pod_serves_while_no_target_has_one():
    rule = Rule([Target("main")], fallbacks=[Target("empty"), Target("spare")])

    def table(main: bool, empty: bool = False) -> RouteTable:
        pools = [pool("main", has_pods=main), pool("empty", has_pods=empty), pool("spare")]
        return RouteTable([route(rule)], pools)

    assert chosen(table(main=True)) == "main"
    assert chosen(table(main=False)) == "spare"
    assert chosen(table(main=False, empty=True)) == "empty"


@pytest.mark.parametrize("tenants", [[], ["gold"]])
def test_a_target_without_a_pod_gets_nothing_while_another_serves(tenants):
    rule = Rule([Target("gone", 90), Target("here", 10), Target("never", 0)])

    def met(gone: bool, here: bool) -> set[str]:
        pools = [pool("gone", has_pods=gone), pool("here", has_pods=here), pool("never", tenants=tenants)]
        table, rng = RouteTable([route(rule)], pools), Random(1)
        return {table.choose("m", {}, rng, tenant="gold").modelserver for _ in range(100)}

    assert met(gone=True, here=True) == {"gone", "here"}
    assert met(gone=False, here=True) == {"here"}
    assert met(gone=False, here=False) == {"gone", "here"}, "they wait where they will be served"


def test_where_no_target_has_a_weight_the_one_that_serves_gets_all():
    rule = Rule([Target("gone", 0), Target("here", 0)])
    table, rng = RouteTable([route(rule)], [pool("gone", has_pods=False), pool("here")]), Random(1)
    assert {table.choose("m", {}, rng).modelserver for _ in range(50)} == {"here"}


def test_requests_wait_at_the_target_where_no_fallback_has_a_pod_either():
    rule = Rule([Target("main")], fallbacks=[Target("spare")])
    assert chosen(RouteTable([route(rule)], [pool("main", has_pods=False), pool("spare", has_pods=False)])) == "main"
    assert chosen(RouteTable([route(rule)], [pool("spare", has_pods=False)])) == "spare"


def test_a_pool_of_some_tenants_does_not_exist_for_the_others():
    table = RouteTable([route(Rule([Target("own"), Target("main")]))], [pool("own", tenants=["gold"]), pool("main")])
    assert {chosen(table, tenant="x") for _ in range(20)} == {"main"}
    assert {table.choose("m", {}, rng, tenant="gold").modelserver for rng in [Random(1)] for _ in range(50)} == {
        "own",
        "main",
    }
    alone = RouteTable([route(Rule([Target("own")]))], [pool("own", tenants=["gold"])])
    assert chosen(alone, tenant="gold") == "own"
    with pytest.raises(ModelNotFound):
        chosen(alone, tenant="x")


def test_the_shorter_time_counts_and_the_pool_says_how_often_a_request_is_sent():
    def choice(route_s: float, pool_s: float):
        table = RouteTable([route(Rule([Target("a")]), timeout_s=route_s)], [pool("a", timeout_s=pool_s, attempts=1)])
        return table.choose("m", {}, Random())

    assert [choice(*times).timeout_s for times in ((0, 0), (5, 0), (0, 7), (5, 7), (9, 7))] == [0, 5, 7, 5, 7]
    assert choice(0, 0).attempts == 1
