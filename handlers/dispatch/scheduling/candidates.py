"""Of many pods with room, the few that a scheduler looks at closely: those that hold most of the prompt, those that
some plug-in wants, the least loaded, and some by chance, which no old news can hide.

It is most of what a decision in a large pool costs, so it looks at each pod as seldom as it can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from operator import itemgetter

from matrixinfer.handlers.dispatch.chance import Rng
from matrixinfer.handlers.dispatch.pod import Pod

_HOLDERS_SHARE = 4
"""One in so many candidates holds much of the prompt: 8 of 32."""
_CHANCE_SHARE = 8
_AS_MANY_MAY_BE_FULL = 3
"""Holders without room for each that is looked for: so far down the list of all holders it goes."""

_COMPARED = 8
"""Pods whose loads are compared for each candidate: the 20 least loaded of 256 chosen by chance are as good as those of
1000."""

_key = itemgetter(0)


def candidates(
    pods: Sequence[Pod], cached_tokens: Mapping[str, float], wanted: Set[str], limit: int, rng: Rng
) -> Sequence[Pod]:
    """At most `limit` of `pods`, each once. `cached_tokens` and `wanted` go by the pods' names."""
    if len(pods) <= limit:
        return pods
    turn = int(rng.random() * len(pods))
    turned = [*pods[turn:], *pods[:turn]]  # the first of equals is another one each time
    favourites = _favourites(turned, cached_tokens, wanted, max(1, limit // _HOLDERS_SHARE))[:limit]
    by_chance = rng.sample(turned, min(limit // _CHANCE_SHARE, limit - len(favourites)))
    by_load = _least_loaded(turned[: limit * _COMPARED], limit)
    return list(dict.fromkeys([*favourites, *by_chance, *by_load]))[:limit]


def _favourites(pods: Sequence[Pod], cached_tokens: Mapping[str, float], wanted: Set[str], holders: int) -> list[Pod]:
    """The wanted, and then up to `holders` that hold the most, the most first."""
    named = [pod for pod in pods if pod.name in wanted] if wanted else []
    if not cached_tokens:
        return named
    least = _least_of_the_most(cached_tokens, holders * (1 + _AS_MANY_MAY_BE_FULL))
    held = cached_tokens.get
    holding = [(tokens, pod) for pod in pods if (tokens := held(pod.name, -1.0)) >= least]
    holding.sort(key=_key, reverse=True)
    return [*named, *[pod for _, pod in holding[:holders]]]


def _least_of_the_most(cached_tokens: Mapping[str, float], count: int) -> float:
    """What the last of the `count` has that hold the most."""
    return sorted(cached_tokens.values())[-count:][0]


def _least_loaded(pods: Sequence[Pod], count: int) -> list[Pod]:
    """Sorting bare numbers and then a few pairs is faster than sorting pods by a key, and than a heap."""
    loads = [pod.load for pod in pods]
    bound = sorted(loads)[count - 1]
    pairs = [pair for pair in zip(loads, pods, strict=True) if pair[0] <= bound]
    pairs.sort(key=_key)
    return [pod for _, pod in pairs[:count]]
