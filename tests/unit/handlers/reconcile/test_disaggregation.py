"""A ModelServer with PD groups → the pool's plan and its pods' roles."""

from __future__ import annotations

import pytest

from matrixinfer.bus.contracts.disaggregation import Disaggregation
from matrixinfer.handlers.api.conditions import find, is_true
from matrixinfer.handlers.api.modelserver import ModelServer
from support.resource_world import World


def server(engine: str = "Simulated", more: str = "", dispatch: str = "{}", groups: bool = True) -> str:
    pd_group = "pdGroup: {groupKey: group, prefillLabels: {part: pre}, decodeLabels: {part: dec}}" if groups else ""
    return f"""
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelServer
metadata: {{name: pool}}
spec:
  inferenceEngine: {engine}
  workloadSelector:
    matchLabels: {{app: x}}
    {pd_group}
  dispatch: {dispatch}
  {more}
"""


def pod(name: str, **labels: str) -> str:
    own = ", ".join(f"{label}: {value}" for label, value in labels.items())
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: x, {own}}}}}
spec: {{containers: [{{name: c}}]}}
"""


def test_pods_have_their_role_and_group_by_the_labels_that_the_server_names() -> None:
    world = World()
    world.write(server())
    world.write(pod("a", part="pre", group="g1"))
    world.write(pod("b", part="dec", group="g1"))
    world.write(pod("c", other="y", group="g2"))
    world.settle()
    world.node_runs_pods(ready=True)
    world.settle()

    roles = {name: (one.role, one.pd_group) for name, one in world.pool_pods().items()}
    assert roles == {"a": ("prefill", "g1"), "b": ("decode", "g1"), "c": ("server", "g2")}


@pytest.mark.parametrize(
    ("manifest", "plan"),
    [
        (server(), Disaggregation("http", "auto", 512, 120.0, 30.0)),
        (server(more="kvConnector: {type: nixl}"), Disaggregation("nixl", "auto", 512, 120.0, 30.0)),
        (
            server(
                dispatch="{disaggregation: {mode: always, thresholdTokens: 64, prefillTimeout: 1m30s, "
                "transferTimeout: 500ms}}"
            ),
            Disaggregation("http", "always", 64, 90.0, 0.5),
        ),
        (server(groups=False), None),
    ],
)
def test_the_plan_of_a_pool_with_groups(manifest: str, plan: Disaggregation | None) -> None:
    world = World()
    world.write(manifest)
    world.settle()

    assert world.pool("pool").disaggregation == plan


def test_a_bound_on_the_time_per_output_token_is_the_pools() -> None:
    world = World()
    world.write(server(groups=False, dispatch="{maxTpot: 40ms}"))
    world.settle()
    assert world.pool("pool").max_tpot_s == 0.04
    world.write(server(groups=False))
    world.settle()
    assert world.pool("pool").max_tpot_s == 0.0


def test_a_pool_is_ready_when_a_group_is_whole() -> None:
    world = World()
    world.write(server())
    world.write(pod("a", part="pre", group="g1"))
    world.write(pod("b", part="dec", group="g2"))
    world.settle()
    world.node_runs_pods(ready=True)
    world.settle()
    ready = find(world.one(ModelServer, "pool").status.conditions, "EndpointsReady")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "NoWholeGroup")
    world.write(pod("c", part="dec", group="g1"))
    world.node_runs_pods(ready=True)
    world.settle()
    status = world.one(ModelServer, "pool").status
    assert is_true(status.conditions, "EndpointsReady")
    assert status.pd_groups == 1
    assert [(role.name, role.ready_pods) for role in status.roles] == [("decode", 2), ("prefill", 1)]
