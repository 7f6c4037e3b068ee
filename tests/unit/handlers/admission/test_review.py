"""What the webhooks answer: the sentences of the command line, defaults once, and nothing to what is not ours."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest

from matrixinfer.handlers.admission.errors import NoReview
from matrixinfer.handlers.admission.review import mutated, validated
from matrixinfer.handlers.api.manifests import read_manifest
from matrixinfer.handlers.errors import BadManifest
from support.checkout import ROOT
from support.rule_cases import Case, Manifest, cases

VERSION = "admission.k8s.io/v1"


def review(obj: Manifest | None, operation: str = "CREATE", **request: Any) -> dict[str, Any]:
    body = {"uid": "u-1", "operation": operation, "object": obj, "namespace": "default", "dryRun": False}
    return {"apiVersion": VERSION, "kind": "AdmissionReview", "request": body | request}


def response(answer: dict[str, Any]) -> dict[str, Any]:
    assert (answer["apiVersion"], answer["kind"]) == (VERSION, "AdmissionReview")
    assert answer["response"]["uid"] == "u-1"
    return answer["response"]


def patch_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    told = response(answer)
    assert told["allowed"], told
    if "patch" not in told:
        return []
    assert told["patchType"] == "JSONPatch"
    return json.loads(base64.b64decode(told["patch"]))


def patched(obj: Manifest, steps: list[dict[str, Any]]) -> Manifest:
    """As RFC 6902 says of `add`."""
    result = copy.deepcopy(obj)
    for step in steps:
        assert step["op"] == "add"
        *above, last = step["path"].split("/")[1:]
        place: Any = result
        for part in above:
            place = place[int(part)] if isinstance(place, list) else place[part]
        assert isinstance(place, dict)
        place[last] = step["value"]
    return result


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_bad_object_is_refused_with_the_sentences_of_the_command_line(case: Case) -> None:
    with pytest.raises(BadManifest) as on_the_command_line:
        read_manifest(case.bad, "default", where="document 1")
    name = f"{case.bad['kind']} {case.bad['metadata']['name']}"
    expected = [problem.replace(f"document 1 ({name})", name) for problem in on_the_command_line.value.problems]
    for answer in (validated(review(case.bad)), mutated(review(case.bad))):
        told = response(answer)
        assert not told["allowed"]
        assert told["status"]["code"] == 422
        assert told["status"]["message"] == "; ".join(expected)
        assert [cause["message"] for cause in told["status"]["details"]["causes"]] == expected


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_good_object_gets_its_defaults_once_and_means_what_it_meant(case: Case) -> None:
    assert response(validated(review(case.good))) == {"uid": "u-1", "allowed": True}
    whole = patched(case.good, patch_of(mutated(review(case.good))))
    assert patch_of(mutated(review(whole))) == []
    assert read_manifest(whole, "", where="").to_json() == read_manifest(case.good, "", where="").to_json()


def test_what_absent_parts_mean_is_written_out_and_what_is_there_stays() -> None:
    (infer,) = [case.good for case in cases() if case.name == "order names once"]
    spec = patched(infer, patch_of(mutated(review(infer))))["spec"]
    assert spec["rolloutStrategy"]["roleOrder"] == ["a", "b"]
    assert spec["rolloutStrategy"]["rollingUpdateConfiguration"]["maxUnavailable"] == 1
    assert spec["recovery"] == {"backoff": "10s", "maxBackoff": "5m"}, "no budget: absent says that there is none"
    assert spec["template"]["roles"][0]["entryTemplate"] == infer["spec"]["template"]["roles"][0]["entryTemplate"]


def test_a_value_that_follows_from_another_field_is_not_written_down() -> None:
    (model,) = [case.good for case in cases() if case.name == "dots"]
    spec = patched(model, patch_of(mutated(review(model))))["spec"]
    assert "name" not in spec, "an object that is copied under another name would serve the old one"
    assert "maxReplicas" not in spec["backends"][0], "it would forbid a larger minReplicas"


def test_metadata_of_the_server_and_a_status_are_no_concern() -> None:
    (case,) = [case for case in cases() if case.name == "bounds"]
    known = {"uid": "x", "finalizers": ["a/b"], "selfLink": "/x", "managedFields": [{}], "generation": 3}
    good = case.good | {"metadata": case.good["metadata"] | known, "status": {"whatever": 1}}
    assert response(validated(review(good, "UPDATE", oldObject=case.bad)))["allowed"]


def test_a_name_that_the_server_will_make_counts_with_its_length() -> None:
    (case,) = [case for case in cases() if case.name == "child names"]
    prefix = case.good["metadata"]["name"]
    for name, is_good in ((prefix[:-5], True), (prefix, False)):
        made = case.good | {"metadata": {"generateName": name}}
        assert response(mutated(review(made)))["allowed"] is is_good


def bad_model() -> Manifest:
    return next(case.bad for case in cases() if case.name == "bounds")


def leaving(obj: Manifest) -> Manifest:
    return obj | {"metadata": obj["metadata"] | {"deletionTimestamp": "2026-01-01T00:00:00Z"}}


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(review(None, "DELETE", oldObject=bad_model()), id="it is deleted"),
        pytest.param(review(bad_model(), subResource="status"), id="its status"),
        pytest.param(review(bad_model(), "CONNECT"), id="another operation"),
        pytest.param(review({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": 3}), id="a Pod"),
        pytest.param(review(bad_model() | {"kind": "Ensemble"}), id="a kind of a later version"),
        pytest.param(review(bad_model(), "UPDATE", oldObject=bad_model()), id="its content stays"),
        pytest.param(review(leaving(bad_model()), "UPDATE", oldObject={"spec": {}}), id="it is being deleted"),
    ],
)
def test_what_is_not_ours_to_judge_is_let_through_untouched(asked: dict[str, Any]) -> None:
    assert response(validated(asked)) == response(mutated(asked)) == {"uid": "u-1", "allowed": True}


@pytest.mark.parametrize("dry", [True, False])
def test_a_dry_run_is_answered_like_any_other(dry: bool) -> None:
    case = cases()[0]
    assert patch_of(mutated(review(case.good, dryRun=dry)))
    assert not response(validated(review(case.bad, dryRun=dry)))["allowed"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ([], "expected an AdmissionReview"),
        ({"apiVersion": "admission.k8s.io/v1beta1", "request": {}}, "admission.k8s.io/v1"),
        ({"apiVersion": VERSION}, "expected a request with a uid"),
        ({"apiVersion": VERSION, "request": {"uid": 3}}, "expected a request with a uid"),
    ],
)
def test_what_is_no_review_is_refused_as_such(asked: object, said: str) -> None:
    with pytest.raises(NoReview, match=said):
        validated(asked)


def test_the_examples_are_admitted() -> None:
    import yaml

    found = [
        one for path in sorted((ROOT / "examples").rglob("*.yaml")) for one in yaml.safe_load_all(path.read_text())
    ]
    assert found
    for one in found:
        assert response(mutated(review(one)))["allowed"]
