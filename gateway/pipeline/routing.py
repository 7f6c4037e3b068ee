"""Where it goes: from a model's name to the pool that serves it, by the compiled routes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from matrixinfer.bus.contracts.serving import Pool, Route, Rule, Target
from matrixinfer.gateway.errors import ModelNotFound, NotReady

FEW = 10
"""So many models are named in the error about an unknown one."""


class Rng(Protocol):
    """Where chance comes from: `random.Random`, or a test's."""

    def random(self) -> float:
        """In [0, 1)."""
        ...


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


class RouteTable:
    """All routes and pools at one moment; never changed after it was made. Of two routes for one model the oldest
    wins, so that nobody can take a model over by adding a route."""

    def __init__(self, routes: Iterable[Route] = (), pools: Iterable[Pool] = ()) -> None:
        self._pools = {(pool.namespace, pool.modelserver): pool for pool in pools}
        self._models: dict[str, Route] = {}
        self._adapters: dict[str, Route] = {}
        for route in sorted(routes, key=lambda r: (r.created_s, r.namespace, r.name)):
            self._models.setdefault(route.model, route)
            for adapter in route.adapters:
                self._adapters.setdefault(adapter, route)

    def models(self) -> list[ServedModel]:
        """Everything a client can ask for, by name; an adapter names the model it belongs to."""
        found = {name: ServedModel(name, r.created_s, r.model) for name, r in self._adapters.items()}
        found |= {name: ServedModel(name, r.created_s) for name, r in self._models.items()}
        return [found[name] for name in sorted(found)]

    def choose(self, model: str, headers: Mapping[bytes, bytes], rng: Rng) -> Choice:
        """Raises ModelNotFound, and NotReady when the route leads to no pool that exists."""
        route, adapter = self._models.get(model), ""
        if route is None:
            route, adapter = self._adapters.get(model), model
        if route is None:
            raise ModelNotFound(self._unknown(model), param="model")
        rule = _first_match(route.rules, headers)
        if rule is None:
            raise ModelNotFound(f"no rule of the route for model {model!r} matches this request", param="model")
        ready = [target for target in rule.targets if (route.namespace, target.modelserver) in self._pools]
        if not ready:
            raise NotReady(f"model {model!r} has a route but nothing serves it yet", retry_after_s=2.0)
        target = _weighted(ready, rng)
        shards = self._pools[route.namespace, target.modelserver].shards
        shard = int(rng.random() * shards) if shards > 1 else 0
        rewrite = target.model if target.model != model and not adapter else ""
        return Choice(route.namespace, target.modelserver, shard, adapter, rewrite, route.timeout_s)

    def _unknown(self, model: str) -> str:
        names = [served.name for served in self.models()]
        if not names:
            return f"the model {model!r} does not exist: no model is served yet"
        if len(names) > FEW:
            return f"the model {model!r} does not exist; /v1/models lists the {len(names)} that do"
        return f"the model {model!r} does not exist; these do: {', '.join(names)}"


def _first_match(rules: list[Rule], headers: Mapping[bytes, bytes]) -> Rule | None:
    for rule in rules:
        if all(headers.get(name.lower().encode()) == value.encode() for name, value in rule.headers.items()):
            return rule
    return None


def _weighted(targets: list[Target], rng: Rng) -> Target:
    if len(targets) == 1:
        return targets[0]
    weights = [target.weight for target in targets]
    if not any(weights):  # all weights 0: nobody meant "serve nothing"
        weights = [1] * len(targets)
    point = rng.random() * sum(weights)
    for target, weight in zip(targets, weights, strict=True):
        point -= weight
        if point < 0:
            return target
    return targets[-1]  # rounding
