"""Manifests: what is accepted, and what people are told about the rest."""

from __future__ import annotations

import pytest
import yaml

from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.api.registry import KINDS, find_kind
from matrixinfer.handlers.errors import BadManifest

MODEL = """
apiVersion: matrixinfer.ai/v1alpha1
kind: Model
metadata: {name: m}
spec:
  backends:
    - {name: a, type: Simulated, minReplicas: 3}
"""
SERVER = """
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelServer
metadata: {name: s}
spec: {inferenceEngine: Simulated, workloadSelector: {matchLabels: {app: x}}}
"""
ROUTE = """
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelRoute
metadata: {name: r}
spec:
  modelName: m
  rules: [{targetModels: [{modelServerName: s}]}]
"""
INFER = """
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelInfer
metadata: {name: i}
spec:
  template:
    roles: [{name: server, entryTemplate: {spec: {containers: [{name: c}]}}}]
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {containers: [{name: c}]}
"""
POLICY = """
apiVersion: matrixinfer.ai/v1alpha1
kind: AutoScalingPolicy
metadata: {name: p}
spec: {metrics: [{metricName: waiting, targetValue: 4}]}
"""
BINDING = """
apiVersion: matrixinfer.ai/v1alpha1
kind: AutoScalingPolicyBinding
metadata: {name: b}
spec:
  policyRef: {name: p}
  scalingConfiguration: {target: {targetRef: {name: i}}, maxReplicas: 2}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(BadManifest) as caught:
        parse_manifests(text)
    return caught.value.problems


@pytest.mark.parametrize("text", [MODEL, SERVER, ROUTE, INFER, POD, POLICY, BINDING])
def test_the_smallest_object_of_each_kind_is_accepted_and_survives_json(text):
    (resource,) = parse_manifests(text)
    assert type(resource).read(resource.to_json()) == resource
    assert parse_manifests(yaml.safe_dump(resource.to_json())) == [resource]


def test_documents_come_in_order_and_get_the_given_namespace():
    other = MODEL.replace("{name: m}", "{name: n, namespace: own}")
    found = parse_manifests(f"{MODEL}\n---\n{other}\n---\n", namespace="team")
    assert [resource.key for resource in found] == [("Model", "team", "m"), ("Model", "own", "n")]


def test_what_only_the_cluster_can_say_is_left_out():
    body = yaml.safe_load(MODEL) | {"status": {"observedGeneration": 7}}
    body["metadata"] |= {
        "uid": "u",
        "resourceVersion": "9",
        "generation": 3,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    assert parse_manifests(yaml.safe_dump(body)) == parse_manifests(MODEL)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [", "not YAML"),
        ("", "no objects: the text holds no YAML document"),
        ("3", "document 1: expected an object with apiVersion, kind and metadata, got 3"),
        (
            "kind: Foo",
            "document 1: kind: expected one of AutoScalingPolicy, AutoScalingPolicyBinding, ControllerRevision, Event, "
            "Model, ModelInfer, ModelRoute, ModelServer, Pod, PodGroup, Service, got 'Foo'",
        ),
        (
            MODEL.replace("matrixinfer.ai/v1alpha1", "v1"),
            "document 1: apiVersion: expected 'matrixinfer.ai/v1alpha1' for a Model, got 'v1'",
        ),
        (
            MODEL.replace("minReplicas", "minReplica"),
            "document 1 (Model m): spec.backends[0].minReplica: unknown field; did you mean 'minReplicas'?",
        ),
        (MODEL.replace("name: a, ", ""), "document 1 (Model m): spec.backends[0].name: missing"),
        (
            MODEL.replace("Simulated", "Triton"),
            "document 1 (Model m): spec.backends[0].type: expected 'SGLang', 'vLLM', 'LlamaCpp', 'Simulated' or "
            "'OpenAI', got 'Triton'",
        ),
        (
            MODEL.replace("name: m}", "name: M_1}"),
            "document 1 (Model M_1): metadata.name: expected lower case letters, digits, '-' and '.', beginning and "
            "ending with a letter or digit, got 'M_1'",
        ),
        (
            MODEL.replace("minReplicas: 3", "minReplicas: 3, maxReplicas: 2"),
            "document 1 (Model m): spec.backends[0]: maxReplicas 2 must be at least minReplicas 3",
        ),
        (
            MODEL + "    - {name: a, type: Simulated}",
            "document 1 (Model m): spec: backends must have different names, met 'a' 2 times",
        ),
        (ROUTE.replace("modelName: m", "modelName: ''"), "modelName or loraAdapters must be set"),
        (ROUTE.replace("{modelServerName: s}", "{modelServerName: s, weight: 0}"), "needs a weight above 0"),
        (SERVER.replace("{app: x}", "{}"), "spec.workloadSelector.matchLabels: expected 1 or more entries, got {}"),
        (
            SERVER.replace("Simulated,", "Simulated, tokenizer: {path: models/m},"),
            "spec.tokenizer.path: expected a path from the root on, e.g. /models/qwen, got 'models/m'",
        ),
        (
            SERVER.replace("Simulated,", "Simulated, tokenizer: {path: /m, chatTemplate: x, chatTemplatePath: /t},"),
            "spec.tokenizer: expected chatTemplate or chatTemplatePath, not both",
        ),
        (INFER.replace("spec: {containers", "workers: 1, spec: {containers"), "entryTemplate.workers: unknown field"),
        (INFER.replace("name: i}", f"name: {'i' * 60}}}"), "choose shorter names"),
    ],
)
def test_a_person_is_told_which_document_which_field_and_what_was_expected(text, expected):
    assert expected in problems(text)[0]
    assert len(problems(text)) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            MODEL.replace("minReplicas: 3", "minReplicas: 1000000"),
            "document 1 (Model m): spec: minReplicas of all backends (a: 1000000) makes 1000000 pods; "
            "expected at most 2000 pods for one Model",
        ),
        (
            MODEL.replace("minReplicas: 3", "minReplicas: 1500") + "    - {name: b, type: Simulated, minReplicas: 501}",
            "minReplicas of all backends (a: 1500 + b: 501) makes 2001 pods",
        ),
        (MODEL.replace("minReplicas: 3", "maxReplicas: 2001"), "maxReplicas of all backends (a: 2001) makes 2001 pods"),
        (
            INFER.replace("spec:\n", "spec:\n  replicas: 3\n").replace(
                "entryTemplate: {spec: {containers: [{name: c}]}}}",
                "entryTemplate: &t {spec: {containers: [{name: c}]}}, workerTemplate: *t, replicas: 7, "
                "workerReplicas: 99}",
            ),
            "document 1 (ModelInfer i): spec: replicas 3 x (server: 7 x (1 + 99); replicas x (1 + workerReplicas) of "
            "each role) makes 2100 pods; expected at most 2000 pods, and as many groups, for one ModelInfer",
        ),
        (
            INFER.replace("spec:\n", "spec:\n  replicas: 1000000\n").replace("server,", "server, replicas: 0,"),
            "replicas 1000000 x (server: 0 x (1 + 0)",
        ),
    ],
)
def test_more_pods_than_one_object_may_have_are_refused_with_the_product_and_the_bound(text, expected):
    (problem,) = problems(text)
    assert expected in problem


def test_as_many_pods_as_one_object_may_have_are_accepted():
    assert parse_manifests(MODEL.replace("minReplicas: 3", "minReplicas: 2000"))
    assert parse_manifests(INFER.replace("spec:\n", "spec:\n  replicas: 2000\n"))


def test_every_problem_of_every_document_is_told_at_once():
    found = problems(f"{MODEL.replace('name: a', 'name: A')}\n---\n{POD.replace('v1', 'v2')}")
    assert len(found) == 2
    assert found[0].startswith("document 1 (Model m)")
    assert found[1].startswith("document 2")


def test_the_names_of_pods_bound_the_names_of_model_and_backend():
    long = MODEL.replace("name: m}", f"name: {'m' * 39}}}")
    assert "at most 40 fit into the names of its pods" in problems(long)[0]
    assert parse_manifests(long.replace("m" * 39, "m" * 38))


@pytest.mark.parametrize(
    ("name", "kind"), [("Model", "Model"), ("models", "Model"), ("MS", "ModelServer"), ("po", "Pod")]
)
def test_a_kind_is_found_by_any_of_its_names(name, kind):
    assert find_kind(name).name == kind


def test_an_unknown_kind_is_refused_with_what_there_is():
    with pytest.raises(
        BadManifest, match="unknown kind 'deployments'; expected one of AutoScalingPolicy, AutoScalingPolicyBinding, C"
    ):
        find_kind("deployments")


def test_no_two_kinds_share_a_name():
    names = [name.lower() for kind in KINDS.values() for name in (kind.name, kind.plural, *kind.short_names)]
    assert len(names) == len(set(names))


def test_reading_is_lenient_where_admission_is_strict():
    body = yaml.safe_load(MODEL)
    body["spec"]["fromTheFuture"] = {"x": 1}
    assert "unknown field" in problems(yaml.safe_dump(body))[0]
    assert Model.read(body) == parse_manifests(MODEL)[0]
