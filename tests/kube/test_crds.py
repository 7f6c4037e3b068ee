"""Our CRDs on a server of today: accepted, with rules that it enforces, and what it shows of them."""

from __future__ import annotations

import json
from urllib.error import HTTPError

import pytest

from matrixinfer.handlers.api.registry import KINDS
from support.kube import ControlPlane
from support.rule_cases import CASES, Case, Manifest, cases


def path_of(manifest: Manifest) -> str:
    return f"/apis/matrixinfer.ai/v1alpha1/namespaces/default/{KINDS[manifest['kind']].plural}"


@pytest.fixture
def plane(control_plane: ControlPlane) -> ControlPlane:
    control_plane.empty()
    return control_plane


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_rule_takes_the_good_and_refuses_the_bad(plane: ControlPlane, case: Case) -> None:
    if not plane.knows_cel:
        pytest.skip("these assets have no CRD server that knows CEL")
    created = plane.ask("POST", path_of(case.good), case.good)
    assert created["metadata"]["uid"]
    bad = case.bad | {"metadata": case.bad["metadata"] | {"name": case.bad["metadata"]["name"] + "x"}}
    if "name" in case.name or "dots" in case.name:
        bad = case.bad
    with pytest.raises(HTTPError) as refused:
        plane.ask("POST", path_of(bad), bad)
    assert refused.value.code == 422
    assert case.message in json.loads(refused.value.read())["message"]


@pytest.mark.parametrize("port", [0, 65536, "no name", "8080", "a--b"])
def test_the_server_bounds_ports_by_number_and_by_name(plane: ControlPlane, port: int | str) -> None:
    if not plane.knows_cel:
        pytest.skip("these assets have no CRD server of today")
    (infer,) = [case.good for case in cases() if case.name == "one action"]
    probe = infer["spec"]["template"]["roles"][0]["entryTemplate"]["spec"]["containers"][0]["readinessProbe"]
    for good in (65535, "http"):
        probe["httpGet"]["port"] = good
        plane.ask("POST", path_of(infer), infer)
        plane.empty()
    probe["httpGet"]["port"] = port
    with pytest.raises(HTTPError) as refused:
        plane.ask("POST", path_of(infer), infer)
    assert "readinessProbe.httpGet.port" in json.loads(refused.value.read())["message"]


def test_defaults_are_filled_in_and_groups_can_be_scaled(plane: ControlPlane) -> None:
    (infer,) = [case.good for case in CASES if case.name == "dots in groups"]
    path = path_of(infer)
    assert plane.ask("POST", path, infer)["spec"]["replicas"] == 1
    scale = plane.ask("GET", f"{path}/a-b/scale")
    plane.ask("PUT", f"{path}/a-b/scale", scale | {"spec": {"replicas": 3}})
    assert plane.ask("GET", f"{path}/a-b")["spec"]["replicas"] == 3
