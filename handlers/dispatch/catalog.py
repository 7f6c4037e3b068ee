"""The pools and their pods as the reconcilers compiled them into the bucket SERVING."""

from __future__ import annotations

from matrixinfer.bus.contracts import decode
from matrixinfer.bus.contracts.serving import Pool, PoolPod
from matrixinfer.bus.subjects import parse_key
from matrixinfer.handlers.dispatch.assignment import PoolShard

PoolName = tuple[str, str]
"""(namespace, modelserver)"""


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
        return {PoolShard(*name, shard) for name, pool in self._pools.items() for shard in range(pool.shards)}

    def shard_count(self, namespace: str, modelserver: str) -> int:
        """0 for a pool that is not there (any more)."""
        pool = self._pools.get((namespace, modelserver))
        return pool.shards if pool is not None else 0

    def pods(self, namespace: str, modelserver: str) -> dict[str, PoolPod]:
        """By name."""
        return dict(self._pods.get((namespace, modelserver), {}))
