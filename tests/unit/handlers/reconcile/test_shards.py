"""Which shard each pod of a pool works for: even, sticky, PD groups together."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.bus.contracts.serving import Pool, PoolPod
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.reconcile.shards import spread
from support.resource_world import World

SHARDS = st.integers(1, 6)
NAMES = st.sets(st.sampled_from([f"p{n}" for n in range(24)]))


def pods(*names: str, groups: int = 0) -> list[PoolPod]:
    """With `groups`, each group has every `groups`-th pod."""
    return [PoolPod("ns", "ms", n, pd_group=f"g{int(n[1:]) % groups}" if groups else "") for n in names]


def fewest_moves(kept: Counter[int], total: int, shards: int) -> int:
    """What any even spread must take from those that have too much: the fullest may keep one more."""
    floor, more = divmod(total, shards)
    rooms = [floor + (rank < more) for rank in range(shards)]
    sizes = sorted((kept[shard] for shard in range(shards)), reverse=True)
    return sum(max(0, size - room) for size, room in zip(sizes, rooms, strict=True))


@given(NAMES, SHARDS)
def test_each_pod_has_one_shard_and_the_shards_are_even_to_one_pod(names, shards):
    homes = spread(pods(*names), {}, shards)
    sizes = Counter(homes.values())
    counts = [sizes[shard] for shard in range(shards)]
    assert homes.keys() == names
    assert sum(counts) == len(names)
    assert max(counts) - min(counts) <= 1


@given(NAMES, NAMES, SHARDS, SHARDS)
def test_whatever_changes_as_few_pods_move_as_evenness_allows(names, later, shards, more):
    before = spread(pods(*names), {}, shards)
    after = spread(pods(*later), before, more)
    kept = {pod: before[pod] for pod in later if before.get(pod, more) < more}
    moved = [pod for pod, shard in kept.items() if after[pod] != shard]
    assert len(moved) == fewest_moves(Counter(kept.values()), len(later), more)


@given(NAMES, SHARDS, st.integers(1, 8))
def test_the_pods_of_a_group_stay_together(names, shards, groups):
    homes = spread(pods(*names, groups=groups), {}, shards)
    for group in range(groups):
        assert len({homes[name] for name in names if int(name[1:]) % groups == group}) <= 1


@given(NAMES, SHARDS)
def test_the_order_in_which_pods_are_told_does_not_matter(names, shards):
    assert spread(pods(*sorted(names)), {}, shards) == spread(pods(*sorted(names, reverse=True)), {}, shards)


def server(shards: int) -> str:
    return f"""
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelServer
metadata: {{name: pool}}
spec: {{inferenceEngine: Simulated, workloadSelector: {{matchLabels: {{app: x}}}}, dispatch: {{shards: {shards}}}}}
"""


def pod(name: str) -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: x}}}}
spec: {{containers: [{{name: c}}]}}
"""


@pytest.fixture
def world() -> World:
    world = World()
    world.write(server(2))
    for number in range(4):
        world.write(pod(f"p{number}"))
    world.settle()
    world.node_runs_pods()
    world.settle()
    return world


def test_the_number_of_shards_reaches_the_pool_and_its_pods(world):
    assert (world.pool("pool").shards, world.pool("pool").served_shards) == (2, 0)
    assert Counter(pod.shard for pod in world.pool_pods().values()) == {0: 2, 1: 2}


def test_a_backend_hands_its_shards_on_to_its_pool():
    world = World()
    world.write("""
apiVersion: matrixinfer.ai/v1alpha1
kind: Model
metadata: {name: hot}
spec: {backends: [{name: main, type: Simulated, minReplicas: 4, dispatch: {shards: 3}}]}
""")
    world.settle()
    assert world.pool("hot-main").shards == 3


def test_a_pod_that_comes_back_moves_no_other(world):
    before = {name: pod.shard for name, pod in world.pool_pods().items()}
    world.report("p3", phase="Running", ready=False)
    world.settle()
    world.report("p3", phase="Running", ready=True)
    world.settle()
    assert {name: pod.shard for name, pod in world.pool_pods().items()} == before


def test_a_pod_that_leaves_stays_with_the_shard_that_knows_its_work(world):
    shard = world.pool_pods()["p0"].shard
    world.remove(Pod, "p0")
    world.settle()
    assert (world.pool_pods()["p0"].draining, world.pool_pods()["p0"].shard) == (True, shard)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [([1], (1, 2)), ([3], (3, 0)), ([1, 3], (3, 0)), ([4, 1], (1, 4)), ([4, 1, 2], (2, 4))],
)
def test_a_shard_that_took_requests_once_is_served_on(world, wanted, told):
    for shards in wanted:
        world.write(server(shards))
        world.settle()
    pool: Pool = world.pool("pool")
    assert (pool.shards, pool.served_shards) == told
    assert {pod.shard for pod in world.pool_pods().values()} == set(range(pool.shards))
