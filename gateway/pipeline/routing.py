"""Where it goes: from a model's name to the pool that serves it, by the compiled routes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from matrixinfer.bus.contracts.serving import Pool, Route, Rule
from matrixinfer.gateway.errors import ModelNotFound, NotReady, quoted
from matrixinfer.gateway.pipeline.chance import Rng
from matrixinfer.gateway.pipeline.sharding import shard_of

FEW = 10
"""So many models are named in the error about an unknown one."""


class Choice(NamedTuple):
    """`rewrite_model` is empty when the engine serves the name that the client said."""

    namespace: str
    modelserver: str
    shard: int
    adapter: str
    rewrite_model: str
    timeout_s: float


class ServedModel(NamedTuple):
    name: str
    created_s: float
    parent: str = ""


class Way(NamedTuple):
    """One target whose pool exists. `choice` has shard 0."""

    choice: Choice
    weight: int
    shards: int


class Lane(NamedTuple):
    """One rule, made ready: what the headers must be, and where it leads."""

    headers: tuple[tuple[bytes, bytes], ...]
    ways: tuple[Way, ...]


class RouteTable:
    """All routes and pools at one moment; never changed after it was made. Of two routes for one model the oldest
    wins, so that nobody can take a model over by adding a route."""

    def __init__(self, routes: Iterable[Route] = (), pools: Iterable[Pool] = ()) -> None:
        shards = {(pool.namespace, pool.modelserver): pool.shards for pool in pools}
        self._lanes: dict[str, list[Lane]] = {}
        self._served: dict[str, ServedModel] = {}
        ordered = sorted(routes, key=lambda r: (r.created_s, r.namespace, r.name))
        for route in ordered:
            if route.model not in self._served:
                self._serve(route, route.model, "", shards)
        for route in ordered:  # after the models: a name that is both is the model
            for adapter in route.adapters:
                if adapter not in self._served:
                    self._serve(route, adapter, adapter, shards)

    def models(self) -> list[ServedModel]:
        """Everything a client can ask for, by name; an adapter names the model it belongs to."""
        return [self._served[name] for name in sorted(self._served)]

    def choose(self, model: str, headers: Mapping[bytes, bytes], rng: Rng, *, session: str = "") -> Choice:
        """`session` is unique among all tenants'. Raises ModelNotFound, and NotReady when the route leads to no pool
        that exists."""
        lanes = self._lanes.get(model)
        if lanes is None:
            raise ModelNotFound(self._unknown(model), param="model")
        for lane in lanes:
            if not lane.headers or all(headers.get(name) == value for name, value in lane.headers):
                break
        else:
            raise ModelNotFound(f"no rule of the route for model {model!r} matches this request", param="model")
        if not lane.ways:
            raise NotReady(f"model {model!r} has a route but nothing serves it yet", retry_after_s=2.0)
        way = lane.ways[0] if len(lane.ways) == 1 else _weighted(lane.ways, rng)
        return way.choice if way.shards <= 1 else way.choice._replace(shard=shard_of(session, way.shards, rng))

    def _serve(self, route: Route, name: str, adapter: str, shards: Mapping[tuple[str, str], int]) -> None:
        self._served[name] = ServedModel(name, route.created_s, route.model if adapter else "")
        self._lanes[name] = [
            Lane(
                tuple((header.lower().encode(), value.encode()) for header, value in rule.headers.items()),
                tuple(_ways(route, rule, adapter, shards)),
            )
            for rule in route.rules
        ]

    def _unknown(self, model: str) -> str:
        names = sorted(self._served)
        if not names:
            return f"the model {quoted(model)} does not exist: no model is served yet"
        if len(names) > FEW:
            return f"the model {quoted(model)} does not exist; /v1/models lists the {len(names)} that do"
        return f"the model {quoted(model)} does not exist; these do: {', '.join(names)}"


def _ways(route: Route, rule: Rule, adapter: str, shards: Mapping[tuple[str, str], int]) -> Iterator[Way]:
    """The targets that have a pool. An adapter's name is the engine's own: it is never rewritten."""
    for target in rule.targets:
        count = shards.get((route.namespace, target.modelserver))
        if count is not None:
            rewrite = target.model if target.model != route.model and not adapter else ""
            choice = Choice(route.namespace, target.modelserver, 0, adapter, rewrite, route.timeout_s)
            yield Way(choice, target.weight, count)


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
