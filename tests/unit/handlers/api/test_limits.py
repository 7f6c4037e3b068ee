"""What fields of our own kinds do not take in: weights, durations, flags and names beyond what anybody could follow."""

from __future__ import annotations

import pytest

from matrixinfer.handlers.api.manifests import parse_manifests
from support.odd_fields import MODEL, changed, problem


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
