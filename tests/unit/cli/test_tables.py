"""How objects look in a table."""

from __future__ import annotations

from typing import Any

import pytest

from matrixinfer.cli.checks import AGENT_LABEL
from matrixinfer.cli.tables import age, columns, pod_state
from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.registry import KINDS

CREATED = {"metadata": {"name": "x", "creationTimestamp": "1970-01-01T00:00:00Z"}}


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (200_000, "2d")]
)
def test_an_age_is_short(seconds: int, shown: str) -> None:
    assert age(CREATED, float(seconds)) == shown


def pod(state: dict[str, Any], **metadata: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", **metadata},
        "spec": {"containers": [{}]},
        "status": {"phase": "Running", "containerStatuses": [{"ready": False, "restartCount": 2, "state": state}]},
    }


@pytest.mark.parametrize(
    ("object_", "shown"),
    [
        (pod({"running": {}}), "Running"),
        (pod({"waiting": {"reason": "CrashLoopBackOff"}}), "CrashLoopBackOff"),
        (pod({"terminated": {"reason": "Completed", "exitCode": 0}}), "Completed"),
        (pod({"running": {}}, deletionTimestamp="2030-01-01T00:00:00Z"), "Terminating"),
        ({"metadata": {}, "spec": {}}, "Pending"),
    ],
)
def test_a_pod_shows_what_kubectl_would(object_: dict[str, Any], shown: str) -> None:
    assert pod_state(object_) == shown


def test_a_pods_row_counts_containers_and_restarts() -> None:
    cells = {name: read(pod({"running": {}})) for name, read in columns("Pod")}
    assert cells == {"READY": "0/1", "STATUS": "Running", "RESTARTS": "2", "NODE": ""}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_columns_that_bear_an_object_without_status(kind: str) -> None:
    bare = {"kind": kind, "metadata": {"name": "x"}, "spec": {}}
    assert all(isinstance(read(bare), str) for _, read in columns(kind))


def test_conditions_tell_what_holds_and_what_should_but_does_not() -> None:
    conditions = [
        {"type": "Ready", "status": "False", "reason": "NoPods"},
        {"type": "Conflicted", "status": "False", "reason": "NoConflict"},
        {"type": "Accepted", "status": "True"},
    ]
    cells = {
        name: read({"spec": {}, "metadata": {}, "status": {"conditions": conditions}})
        for name, read in columns("Model")
    }
    assert cells["STATE"] == "not Ready (NoPods), Accepted"


def test_the_doctor_knows_the_label_of_agents() -> None:
    assert AGENT_LABEL == labels.AGENT


def cells_of(kind: str, spec: dict[str, Any], status: dict[str, Any]) -> dict[str, str]:
    manifest = {"kind": kind, "metadata": {"name": "x"}, "spec": spec, "status": status}
    return {name: read(manifest) for name, read in columns(kind)}


def test_a_policys_row_tells_its_metrics_and_who_uses_it() -> None:
    metrics = [{"metricName": "waiting", "targetValue": 4}, {"metricName": "cache", "targetValue": "800m"}]
    accepted = {"bindings": 2, "conditions": [{"type": "Accepted", "status": "True"}]}
    cells = cells_of("AutoScalingPolicy", {"metrics": metrics}, accepted)
    assert cells == {"METRICS": "waiting=4, cache=800m", "BINDINGS": "2", "STATE": "Accepted"}


@pytest.mark.parametrize(
    ("configuration", "shown"),
    [
        (
            {"scalingConfiguration": {"target": {"targetRef": {"name": "a"}}, "maxReplicas": 3}},
            "a 2 (1-3)",
        ),
        (
            {
                "optimizerConfiguration": {
                    "params": [
                        {"target": {"targetRef": {"name": "a"}}, "minReplicas": 0, "maxReplicas": 3},
                        {"target": {"targetRef": {"name": "b"}, "roleName": "r"}, "maxReplicas": 4},
                    ]
                }
            },
            "a 2 (0-3), b/r ? (1-4)",
        ),
        (
            {"disaggregatedConfiguration": {"targetRef": {"name": "a"}, "roles": {"decode": {"maxReplicas": 5}}}},
            "a/decode 0 (1-5)",
        ),
    ],
)
def test_a_bindings_row_tells_what_it_scales_between_which_bounds(configuration: dict[str, Any], shown: str) -> None:
    targets = [{"name": "a", "currentReplicas": 2}, {"name": "a", "role": "decode", "currentReplicas": 0}]
    spec = {"policyRef": {"name": "p"}} | configuration
    cells = cells_of("AutoScalingPolicyBinding", spec, {"targets": targets})
    assert (cells["POLICY"], cells["TARGETS"]) == ("p", shown)
