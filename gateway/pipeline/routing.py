"""Where it goes: from a model's name to the pool that serves it, by the compiled routes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from matrixinfer.bus.contracts.serving import Pool, Route, Target
from matrixinfer.gateway.errors import ModelNotFound, NotReady, quoted
from matrixinfer.gateway.pipeline.chance import Rng
from matrixinfer.gateway.pipeline.matching import Conditions, conditions_of
from matrixinfer.gateway.pipeline.sharding import shard_of

FEW = 10
"""So many models are named in the error about an unknown one."""


class Choice(NamedTuple):
    """`rewrite_model` is empty when the engine serves the name that the client said. `attempts`: how often the request
    is sent at most."""

    namespace: str
    modelserver: str
    shard: int
    adapter: str
    rewrite_model: str
    timeout_s: float
    attempts: int


class ServedModel(NamedTuple):
    name: str
    created_s: float
    parent: str = ""


class Way(NamedTuple):
    """One target whose pool exists. `choice` has shard 0. `tenants`: these alone may go there; empty: everybody."""

    choice: Choice
    weight: int
    shards: int
    has_pods: bool
    tenants: frozenset[str]


class Lane(NamedTuple):
    """One rule, made ready: which requests it is for (None: all), and where it leads. `is_plain`: all ways are open to
    everybody, and there is nothing to fall back to; then `ways` are those that serve, if any does."""

    conditions: Conditions | None
    ways: tuple[Way, ...]
    fallbacks: tuple[Way, ...]
    is_plain: bool


Pools = Mapping[tuple[str, str], Pool]


class RouteTable:
    """All routes and pools at one moment; never changed after it was made. Of two routes for one model the oldest
    wins, so that nobody can take a model over by adding a route."""

    def __init__(self, routes: Iterable[Route] = (), pools: Iterable[Pool] = ()) -> None:
        known = {(pool.namespace, pool.modelserver): pool for pool in pools}
        self._lanes: dict[str, list[Lane]] = {}
        self._served: dict[str, ServedModel] = {}
        ordered = sorted(routes, key=lambda r: (r.created_s, r.namespace, r.name))
        for route in ordered:
            if route.model not in self._served:
                self._serve(route, route.model, "", known)
        for route in ordered:  # after the models: a name that is both is the model
            for adapter in route.adapters:
                if adapter not in self._served:
                    self._serve(route, adapter, adapter, known)

    def models(self) -> list[ServedModel]:
        """Everything a client can ask for, by name; an adapter names the model it belongs to."""
        return [self._served[name] for name in sorted(self._served)]

    def choose(
        self,
        model: str,
        headers: Mapping[bytes, bytes],
        rng: Rng,
        *,
        path: str = "",
        tenant: str = "",
        session: str = "",
    ) -> Choice:
        """`session` is unique among all tenants'. Raises ModelNotFound, and NotReady when the route leads to no pool
        that exists."""
        lanes = self._lanes.get(model)
        if lanes is None:
            raise ModelNotFound(self._unknown(model), param="model")
        for lane in lanes:
            if lane.conditions is None or lane.conditions.hold(model, headers, path):
                break
        else:
            raise ModelNotFound(f"no rule of the route for model {model!r} matches this request", param="model")
        ways = lane.ways if lane.is_plain else self._open_ways(lane, model, tenant)
        if not ways:
            raise NotReady(f"model {model!r} has a route but nothing serves it yet", retry_after_s=2.0)
        way = ways[0] if len(ways) == 1 else _weighted(ways, rng)
        return way.choice if way.shards <= 1 else way.choice._replace(shard=shard_of(session, way.shards, rng))

    def _open_ways(self, lane: Lane, model: str, tenant: str) -> Sequence[Way]:
        """Those that this tenant may go, or the first fallback that is better than all of them."""
        ways = [way for way in lane.ways if _may_go(way, tenant)]
        fallbacks = [way for way in lane.fallbacks if _may_go(way, tenant)]
        if not (ways or fallbacks) and (lane.ways or lane.fallbacks):
            raise ModelNotFound(self._unknown(model), param="model")  # as for a model that is not there
        if serving := _serving(ways):
            return serving
        ready = [way for way in fallbacks if way.has_pods]
        return ready[:1] or ways or fallbacks[:1]

    def _serve(self, route: Route, name: str, adapter: str, pools: Pools) -> None:
        self._served[name] = ServedModel(name, route.created_s, route.model if adapter else "")
        lanes = self._lanes[name] = []
        for rule in route.rules:
            ways = tuple(_ways(route, rule.targets, adapter, pools))
            fallbacks = tuple(_ways(route, rule.fallbacks, adapter, pools))
            is_plain = not fallbacks and not any(way.tenants for way in ways)
            if is_plain:
                ways = _serving(ways) or ways
            lanes.append(Lane(conditions_of(rule), ways, fallbacks, is_plain))

    def _unknown(self, model: str) -> str:
        names = sorted(self._served)
        if not names:
            return f"the model {quoted(model)} does not exist: no model is served yet"
        if len(names) > FEW:
            return f"the model {quoted(model)} does not exist; /v1/models lists the {len(names)} that do"
        return f"the model {quoted(model)} does not exist; these do: {', '.join(names)}"


def _ways(route: Route, targets: Iterable[Target], adapter: str, pools: Pools) -> Iterator[Way]:
    """The targets that have a pool. An adapter's name is the engine's own: it is never rewritten."""
    for target in targets:
        pool = pools.get((route.namespace, target.modelserver))
        if pool is not None:
            rewrite = target.model if target.model != route.model and not adapter else ""
            bounds = [bound for bound in (route.timeout_s, pool.timeout_s) if bound]
            timeout_s = min(bounds, default=0.0)
            choice = Choice(route.namespace, target.modelserver, 0, adapter, rewrite, timeout_s, pool.attempts)
            yield Way(choice, target.weight, pool.shards, pool.has_pods, frozenset(pool.tenants))


def _serving(ways: Sequence[Way]) -> tuple[Way, ...]:
    """Those with a pod: nobody waits at one that has none while another serves. Where no way has a weight all count."""
    weighted = [way for way in ways if way.weight] or ways
    return tuple(way for way in weighted if way.has_pods)


def _may_go(way: Way, tenant: str) -> bool:
    return not way.tenants or tenant in way.tenants


def _weighted(ways: Sequence[Way], rng: Rng) -> Way:
    weights = [way.weight for way in ways]
    if not any(weights):  # all weights 0: nobody meant "serve nothing"
        weights = [1] * len(ways)
    point = rng.random() * sum(weights)
    for way, weight in zip(ways, weights, strict=True):
        point -= weight
        if point < 0:
            return way
    return ways[-1]  # rounding
