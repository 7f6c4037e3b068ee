"""What single fields do not take in: numbers, names, paths and durations beyond what anybody could follow."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from matrixinfer.handlers.api.crds.schema import structural
from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.api.modelinfer import ModelInferSpec
from support.odd_fields import MODEL, POD, changed, problem

SECONDS = (1, 2**31 - 1, 0, 2**31)
"""The least and the most that are right, and what is just beyond them."""
FROM_ZERO = (0, 2**31 - 1, -1, 2**31)
PORT = (1, 65535, 0, 65536)
IN_A_PROBE = {
    "periodSeconds": SECONDS,
    "timeoutSeconds": SECONDS,
    "successThreshold": SECONDS,
    "failureThreshold": SECONDS,
    "terminationGracePeriodSeconds": SECONDS,
    "initialDelaySeconds": FROM_ZERO,
}
SLEEP = ("spec", "containers", 0, "lifecycle")
PROBE = ("spec", "containers", 0, "livenessProbe")


def _probe_with(field: str, number: int) -> dict[str, Any]:
    return {"tcpSocket": {"port": 1}, field: number}


BOUNDED: dict[str, tuple[tuple[str | int, ...], Any, tuple[int, int, int, int]]] = {
    # what is put where, around the number
    "spec.terminationGracePeriodSeconds": (("spec", "terminationGracePeriodSeconds"), lambda n: n, FROM_ZERO),
    "spec.activeDeadlineSeconds": (("spec", "activeDeadlineSeconds"), lambda n: n, SECONDS),
    "lifecycle.preStop.sleep.seconds": (SLEEP, lambda n: {"preStop": {"sleep": {"seconds": n}}}, FROM_ZERO),
    "ports[0].containerPort": (("spec", "containers", 0, "ports"), lambda n: [{"containerPort": n}], PORT),
    "ports[0].hostPort": (
        ("spec", "containers", 0, "ports"),
        lambda n: [{"containerPort": 1, "hostPort": n}],
        (0, 65535, -1, 65536),
    ),
    "livenessProbe.httpGet.port": (PROBE, lambda n: {"httpGet": {"port": n}}, PORT),
    "livenessProbe.tcpSocket.port": (PROBE, lambda n: {"tcpSocket": {"port": n}}, PORT),
    "livenessProbe.grpc.port": (PROBE, lambda n: {"grpc": {"port": n}}, PORT),
} | {
    f"livenessProbe.{field}": (PROBE, functools.partial(_probe_with, field), bounds)
    for field, bounds in IN_A_PROBE.items()
}


@pytest.mark.parametrize("name", BOUNDED)
def test_a_number_beyond_its_bounds_is_refused_where_it_is_written(name):
    path, around, (least, most, too_small, too_large) = BOUNDED[name]
    for good in (least, most):
        assert parse_manifests(changed(POD, *path, to=around(good)))
    for bad in (too_small, too_large):
        told = problem(changed(POD, *path, to=around(bad)))
        assert f"{name}: expected" in told
        assert f"got {bad}" in told


@pytest.mark.parametrize("field", ["containerPort", "hostPort"])
def test_the_bounds_of_ports_are_the_api_servers_too(field):
    schema = structural(ModelInferSpec)["properties"]["template"]["properties"]["roles"]["items"]["properties"]
    containers = schema["entryTemplate"]["properties"]["spec"]["properties"]["containers"]["items"]["properties"]
    port = containers["ports"]["items"]["properties"][field]
    assert (port["minimum"], port["maximum"]) == (1 if field == "containerPort" else 0, 65535)


def test_a_port_may_have_a_name():
    assert parse_manifests(changed(POD, "spec", "containers", 0, "livenessProbe", to={"httpGet": {"port": "http"}}))


@pytest.mark.parametrize("text", ["a", "a/b", ".a", "..a", "a/..b", "...", "$(POD)/x"])
@pytest.mark.parametrize("field", ["subPath", "subPathExpr"])
def test_a_path_below_a_volume_stays_below_it(field, text):
    mount = {"name": "v", "mountPath": "/data", field: text}
    assert parse_manifests(changed(POD, "spec", "containers", 0, "volumeMounts", to=[mount]))


@pytest.mark.parametrize("text", ["/a", "..", "../a", "a/..", "a/../b", "a/..//b", "a\0b"])
@pytest.mark.parametrize("field", ["subPath", "subPathExpr"])
def test_a_path_that_leads_out_of_a_volume_is_refused(field, text):
    mount = {"name": "v", "mountPath": "/data", field: text}
    told = problem(changed(POD, "spec", "containers", 0, "volumeMounts", to=[mount]))
    assert f"volumeMounts[0].{field}: expected a path below the volume" in told


@pytest.mark.parametrize("name", ["", "../x", "a/b", "Claim", "a" * 254])
def test_a_claim_has_the_name_of_an_object(name):
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": name}}
    assert "volumes[0].persistentVolumeClaim.claimName: expected" in problem(
        changed(POD, "spec", "volumes", to=[volume])
    )


@pytest.mark.parametrize("where", ["livenessProbe", "lifecycle"])
def test_a_command_has_a_word(where):
    action: dict[str, Any] = {"exec": {"command": []}}
    to = action if where == "livenessProbe" else {"postStart": action}
    told = problem(changed(POD, "spec", "containers", 0, where, to=to))
    assert "exec.command: expected 1 or more entries, got []" in told


@pytest.mark.parametrize(
    ("where", "to"),
    [
        ("readinessProbe", {"httpGet": {"port": 1}, "grpc": {"port": 1}}),
        ("lifecycle", {"preStop": {"httpGet": {"port": 1}, "sleep": {"seconds": 1}}}),
    ],
)
def test_a_probe_or_a_hook_does_one_thing(where, to):
    told = problem(changed(POD, "spec", "containers", 0, where, to=to))
    assert where in told
    assert "expected one action, got httpGet and " in told


@pytest.mark.parametrize(
    ("weight", "is_good"),
    [(1000, True), (0.001, True), (1001, False), (0, False), (float("inf"), False), (float("nan"), False)],
)
def test_a_tenants_weight_is_a_number_that_can_be_reckoned_with(weight, is_good):
    manifest = changed(MODEL, "spec", "backends", 0, "dispatch", to={"tenantWeights": {"a": weight}})
    if is_good:
        assert parse_manifests(manifest)
    else:
        assert "dispatch.tenantWeights.a: " in problem(manifest)


@pytest.mark.parametrize("duration", ["9" * 39 + "h", "9" * 41 + "s", "8760h1s"])
def test_a_duration_ends(duration):
    told = problem(changed(MODEL, "spec", "backends", 0, "startupTimeout", to=duration))
    assert "spec.backends[0].startupTimeout: " in told
    assert "at most 8760h" in told or "at most 40 characters" in told


def test_a_field_of_another_part_is_not_proposed_in_its_own_place():
    told = problem(changed(MODEL, "spec", "backends", 0, "dispatch", to={"scorers": []}))
    assert told.endswith("dispatch.scorers: unknown field; there is one of this name, but not here")


SGLANG = {"name": "a", "type": "SGLang", "modelURI": "hf://org/m"}


@pytest.mark.parametrize("flag", ["", "-", "--", "tp size", "a=b", "--a\nb", "0"])
def test_what_cannot_be_a_flag_is_refused(flag):
    told = problem(changed(MODEL, "spec", "backends", 0, to=SGLANG | {"config": {flag: 1}}))
    assert f"config: expected names of flags such as tp-size, got {flag!r}" in told


@pytest.mark.parametrize("flag", ["tp-size", "tp_size", "--tp-size", "-O", "hf-overrides.a"])
def test_a_flag_may_be_written_as_people_do(flag):
    assert parse_manifests(changed(MODEL, "spec", "backends", 0, to=SGLANG | {"config": {flag: 1}}))


@pytest.mark.parametrize("field", ["autoscalingPolicy", "serviceAccountName", "runtimeClassName"])
def test_a_name_of_another_object_can_be_one(field):
    assert parse_manifests(changed(MODEL, "spec", "backends", 0, to=SGLANG | {field: "a.b-1"}))
    told = problem(changed(MODEL, "spec", "backends", 0, to=SGLANG | {field: "Bad Name"}))
    assert f"spec.backends[0].{field}: expected lower case letters" in told
