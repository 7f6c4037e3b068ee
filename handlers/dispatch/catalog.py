"""The pools and their pods as the reconcilers compiled them into the bucket SERVING."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import structs

from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.serving import Pool, PoolPod
from matrixinfer.bus.subjects import parse_key
from matrixinfer.handlers.dispatch.assignment import PoolShard

PoolName = tuple[str, str]
"""(namespace, modelserver)"""


class ShardPods(NamedTuple):
    """By name: the shard's `own` pods, which it gives requests, and the `others` of its pool."""

    own: dict[str, PoolPod]
    others: dict[str, PoolPod]

    def with_retired_others(self) -> dict[str, PoolPod]:
        """For a takeover: another shard's pod may have been this one's until lately, and still have its work."""
        return {name: structs.replace(pod, draining=True) for name, pod in self.others.items()} | self.own


class Catalog:
    def __init__(self) -> None:
        self._pools: dict[PoolName, Pool] = {}
        self._pods: dict[PoolName, dict[str, PoolPod]] = {}

    def set_pool(self, key: str, value: bytes | None) -> None:
        """`value` None: the pool is gone. Raises Malformed."""
        _, namespace, modelserver = parse_key(key)
        if value is None:
            self._pools.pop((namespace, modelserver), None)
        else:
            self._pools[namespace, modelserver] = decode(value, Pool)

    def set_pod(self, key: str, value: bytes | None) -> None:
        """`value` None: the pod is gone. Raises Malformed."""
        _, namespace, modelserver, pod = parse_key(key)
        pods = self._pods.setdefault((namespace, modelserver), {})
        if value is None:
            pods.pop(pod, None)
        else:
            pods[pod] = decode(value, PoolPod)

    def shards(self) -> set[PoolShard]:
        return {PoolShard(*name, shard) for name in self._pools for shard in range(self.shard_count(*name))}

    def shard_count(self, namespace: str, modelserver: str) -> int:
        """Those to serve; 0 for a pool that is not there (any more)."""
        pool = self._pools.get((namespace, modelserver))
        return max(pool.shards, pool.served_shards) if pool is not None else 0

    def pool(self, namespace: str, modelserver: str) -> Pool | None:
        """None for one that is not there (any more)."""
        return self._pools.get((namespace, modelserver))

    def pods(self, shard: PoolShard) -> ShardPods:
        """A shard without a pod of its own, as one that only drains, uses all of the pool's: rather two dispatchers at
        one pod, whose reports tell each of the other's work, than requests that nobody takes."""
        pods = self._pods.get((shard.namespace, shard.modelserver), {})
        own = {name: pod for name, pod in pods.items() if pod.shard == shard.shard}
        if all(pod.draining for pod in own.values()):
            return ShardPods(dict(pods), {})
        return ShardPods(own, {name: pod for name, pod in pods.items() if name not in own})
