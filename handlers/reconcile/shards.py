"""Which shard of a pool each pod works for, so that no two dispatchers fill the same pod. Pure.

The pods of a PD group stay together. The spread is even to within one group, because gateways give every shard the
same share of the requests; and it is sticky: a pod that moves still has its old shard's work, so few do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from matrixinfer.bus.contracts.serving import PoolPod

Unit = tuple[str, str]
"""(PD group, pod): one of the two is empty."""


def spread(pods: Iterable[PoolPod], before: Mapping[str, int], shards: int) -> dict[str, int]:
    """Pod → shard, for pods that take requests. `before` holds the shards that pods have had so far.

    The fewest units move that make the spread even. With fewer units than shards, some shards get none.
    """
    members: dict[Unit, list[str]] = {}
    for pod in sorted(pods, key=lambda pod: pod.pod):
        members.setdefault(_unit(pod), []).append(pod.pod)
    kept = {unit: _former(names, before, shards) for unit, names in members.items()}
    homes = _even({unit: shard for unit, shard in kept.items() if shard is not None}, members, shards)
    return {pod: homes[unit] for unit, names in members.items() for pod in names}


def _unit(pod: PoolPod) -> Unit:
    return (pod.pd_group, "") if pod.pd_group else ("", pod.pod)


def _former(pods: Iterable[str], before: Mapping[str, int], shards: int) -> int | None:
    return next((before[pod] for pod in pods if before.get(pod, shards) < shards), None)


def _even(homes: dict[Unit, int], units: Iterable[Unit], shards: int) -> dict[Unit, int]:
    """New units go where the fewest are; then the fullest shard gives to the emptiest as long as that helps."""
    sizes = Counter(dict.fromkeys(range(shards), 0))
    sizes.update(homes.values())
    for unit in units:
        if unit not in homes:
            homes[unit] = _emptiest(sizes)
            sizes[homes[unit]] += 1
    while max(sizes.values()) - min(sizes.values()) > 1:
        fullest, emptiest = max(sizes, key=lambda shard: (sizes[shard], shard)), _emptiest(sizes)
        moved = max(unit for unit, shard in homes.items() if shard == fullest)
        homes[moved] = emptiest
        sizes[fullest] -= 1
        sizes[emptiest] += 1
    return homes


def _emptiest(sizes: Mapping[int, int]) -> int:
    return min(sizes, key=lambda shard: (sizes[shard], shard))
