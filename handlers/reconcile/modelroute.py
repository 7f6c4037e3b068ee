"""ModelRoute → its compiled route in SERVING. Pure.

Of two routes for one name the oldest wins; the loser answers for none of its names, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from matrixinfer.bus.contracts.serving import RateLimit, Route, Rule, Target, TextMatch, route_key
from matrixinfer.handlers.api import modelroute as api
from matrixinfer.handlers.api.conditions import condition, updated
from matrixinfer.handlers.api.durations import seconds
from matrixinfer.handlers.api.meta import Condition
from matrixinfer.handlers.api.modelroute import ModelRoute, ModelRouteStatus, RouteRule, StringMatch
from matrixinfer.handlers.api.modelserver import ModelServer
from matrixinfer.handlers.api.times import timestamp, unix_seconds
from matrixinfer.handlers.reconcile.plan import Contract, Plan, listed, serving_changes
from matrixinfer.handlers.reconcile.precedence import holders

Servers = Mapping[str, ModelServer]


def decide(
    route: ModelRoute,
    others: Iterable[ModelRoute],
    servers: Servers,
    serving: Mapping[str, bytes],
    *,
    now: float,
) -> Plan:
    """`others`: the other routes of all namespaces, for clients name a model without one. `servers`: the ModelServers
    of the route's namespace by name. `serving`: the entry that this route has in SERVING now, if any."""
    winners = holders(route, others, lambda one, other: not one.names.isdisjoint(other.names))
    wanted: dict[str, Contract] = {}
    if not winners:
        wanted[route_key(route.metadata.namespace, route.metadata.name)] = compiled(route, servers)
    conditions = (_accepted(route, winners), _resolved(route, servers), *_rate_limited(route))
    generation = route.metadata.generation
    status = ModelRouteStatus(
        observed_generation=generation,
        conditions=updated(route.status.conditions, conditions, generation=generation, now=timestamp(now)),
    )
    return Plan(
        serving=serving_changes(wanted, serving),
        status=None if status == route.status else route.model_copy(update={"status": status}),
    )


def decide_gone(serving: Mapping[str, bytes]) -> Plan:
    """The ModelRoute is not there any more."""
    return Plan(serving=serving_changes({}, serving))


def compiled(route: ModelRoute, servers: Servers) -> Route:
    """What the gateway reads. Targets that do not exist stay in it: the gateway passes them over until they come."""
    created = route.metadata.creation_timestamp
    return Route(
        namespace=route.metadata.namespace,
        name=route.metadata.name,
        model=route.spec.model_name,
        rules=[_rule(rule, servers) for rule in route.spec.rules],
        adapters=list(route.spec.lora_adapters),
        created_s=unix_seconds(created) if created else 0.0,
        timeout_s=seconds(route.spec.timeout) if route.spec.timeout else 0.0,
        rate_limit=_rate_limit(route.spec.rate_limit) if route.spec.rate_limit else None,
    )


def _rule(rule: RouteRule, servers: Servers) -> Rule:
    match = rule.model_match
    return Rule(
        targets=[_target(target.model_server_name, servers, target.weight) for target in rule.target_models],
        headers={name: value.exact for name, value in match.headers.items() if value.exact is not None},
        header_matches={name: _text_match(value) for name, value in match.headers.items() if value.exact is None},
        path=_text_match(match.uri) if match.uri else None,
        model=match.body.model if match.body else "",
        fallbacks=[_target(name, servers) for name in rule.fallbacks],
    )


def _target(name: str, servers: Servers, weight: int = 100) -> Target:
    return Target(name, weight, _served_name(servers.get(name)))


def _text_match(match: StringMatch) -> TextMatch:
    if match.exact is not None:
        return TextMatch("exact", match.exact)
    return TextMatch("prefix", match.prefix) if match.prefix is not None else TextMatch("regex", match.regex or "")


_WINDOW_S = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0, "month": 30 * 86_400.0}


def _rate_limit(limit: api.RateLimit) -> RateLimit:
    return RateLimit(
        window_s=_WINDOW_S[limit.unit],
        requests=limit.requests_per_unit or 0,
        input_tokens=limit.input_tokens_per_unit or 0,
        output_tokens=limit.output_tokens_per_unit or 0,
        per_tenant=limit.per == "tenant",
    )


def _served_name(server: ModelServer | None) -> str:
    return server.spec.model if server is not None else ""


def _accepted(route: ModelRoute, winners: list[ModelRoute]) -> Condition:
    if not winners:
        return condition("Accepted", True, "Accepted", f"answers for {listed(route.names)}")
    oldest = winners[0]
    message = (
        f"the older ModelRoute {oldest.metadata.namespace}/{oldest.metadata.name} answers for "
        f"{listed(route.names & oldest.names)}; choose another name or delete that route"
    )
    return condition("Accepted", False, "NameTaken", message)


def _resolved(route: ModelRoute, servers: Servers) -> Condition:
    rules = route.spec.rules
    named = {target.model_server_name for rule in rules for target in rule.target_models}
    named |= {name for rule in rules for name in rule.fallbacks}
    missing = named - servers.keys()
    if missing:
        message = f"no ModelServer {listed(missing)} in namespace {route.metadata.namespace}"
        return condition("ResolvedRefs", False, "ModelServerNotFound", message)
    return condition("ResolvedRefs", True, "Resolved", "every target exists")


def _rate_limited(route: ModelRoute) -> Iterator[Condition]:
    """Nobody shall believe in a limit that is only written down."""
    if route.spec.rate_limit is not None:
        yield condition("RateLimited", False, "NotEnforced", "the gateways of this version do not enforce rate limits")
