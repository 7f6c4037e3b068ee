"""Laws of every reconciler: a plan that was done leaves nothing to do, and the world comes to rest as it was asked."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.handlers.api.backend import Backend
from matrixinfer.handlers.api.engines import BackendType
from matrixinfer.handlers.api.meta import Metadata
from matrixinfer.handlers.api.model import Model, ModelSpec
from matrixinfer.handlers.api.modelroute import ModelRoute
from matrixinfer.handlers.api.pod import Pod
from support.resource_world import RECONCILED, World

LONGER_THAN_ANY_DRAIN_S = 400
"""Nobody hears how busy these pods are: those that shall go are waited for, to the last."""

backends = st.builds(
    Backend,
    name=st.sampled_from(["a", "b", "c"]),
    type=st.just(BackendType.SIMULATED),
    min_replicas=st.integers(0, 3),
    route_weight=st.integers(0, 100),
    config=st.dictionaries(st.sampled_from(["slots", "seed"]), st.integers(1, 2), max_size=2),
)
specs = st.builds(
    ModelSpec,
    name=st.sampled_from(["", "one", "two"]),
    backends=st.lists(backends, min_size=1, max_size=3, unique_by=lambda backend: backend.name).map(tuple),
)
names = st.sampled_from(["m", "n"])
steps = st.one_of(
    st.tuples(st.just("apply"), names, specs),
    st.tuples(st.just("remove"), names, st.none()),
    st.tuples(st.just("run"), st.none(), st.none()),
    st.tuples(st.just("fail"), st.integers(0, 20), st.none()),
    st.tuples(st.just("end"), st.none(), st.none()),
    st.tuples(st.just("look"), st.none(), st.none()),
    st.tuples(st.just("wait"), st.floats(0.5, 30), st.none()),
)


def do(world: World, step: tuple[str, object, object]) -> None:
    match step:
        case ("apply", str(name), ModelSpec() as spec):
            world.put(Model(metadata=Metadata(name=name), spec=spec))
        case ("remove", str(name), _) if name in world.names(Model):
            world.remove(Model, name)
        case ("run", *_):
            world.node_runs_pods()
        case ("fail", int(number), _) if world.names(Pod):
            pods = world.names(Pod)
            world.report(pods[number % len(pods)], phase="Failed")
        case ("end", *_):
            world.node_ends_pods()
        case ("look", *_):
            world.reconcile_once()
        case ("wait", float(seconds), _):
            world.now += seconds


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=12))
def test_a_plan_that_was_done_leaves_nothing_to_do(history):
    world = World()
    for step in history:
        do(world, step)
    world.node_runs_pods()
    for kind in RECONCILED:
        for resource in world.all(kind):
            world.act(world.decide(resource))
            current = world.one(kind, resource.metadata.name)
            assert world.decide(current).is_empty


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=12))
def test_whatever_happened_the_world_comes_to_rest_as_it_was_asked(history):
    world = World()
    for step in history:
        do(world, step)
    for _ in range(8):  # pods that failed leave, come again, become ready; of others one after the other is replaced
        world.now += LONGER_THAN_ANY_DRAIN_S
        world.settle()
        world.node_ends_pods()
        world.settle()
        world.node_runs_pods()
    world.settle()
    wanted = {
        f"{model.child_name(backend)}-{group}-server-0-0"
        for model in world.all(Model)
        for backend in model.spec.backends
        for group in range(backend.min_replicas)
    }
    assert set(world.names(Pod)) == wanted
    assert set(world.pool_pods()) == wanted
    assert not any(member.draining for member in world.pool_pods().values())
    served = {model.served_name for model in world.all(Model)}
    routes = [world.route(name) for name in world.names(ModelRoute)]
    assert sorted(route.model for route in routes if route is not None) == sorted(served)
