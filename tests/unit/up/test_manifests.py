"""Which models `up` serves."""

from __future__ import annotations

import pytest

from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.api.model import Model
from matrixinfer.up.errors import BadOptions
from matrixinfer.up.manifests import Named, choose, default_manifest, names, served_models, wanted_pods, weights
from support.checkout import ROOT

TWO = """
apiVersion: matrixinfer.ai/v1alpha1
kind: Model
metadata: {name: a, namespace: n}
spec: {name: served, backends: [{name: x, type: Simulated, minReplicas: 2}, {name: y, type: Simulated}]}
---
apiVersion: matrixinfer.ai/v1alpha1
kind: Model
metadata: {name: asleep}
spec: {backends: [{name: x, type: LlamaCpp, modelURI: 'file:///m.gguf', minReplicas: 0}]}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {containers: [{name: c}]}
"""

HEAD = "apiVersion: matrixinfer.ai/v1alpha1\nkind: Model\nmetadata: {name: m}\n"


def test_the_built_in_manifest_is_the_example() -> None:
    assert default_manifest() == (ROOT / "examples" / "smollm2.yaml").read_text()


@pytest.mark.parametrize(("engine", "replicas"), [(None, None), (None, 2), ("simulated", None), ("Simulated", 3)])
def test_every_built_in_manifest_is_accepted_with_the_wanted_replicas(engine, replicas) -> None:
    text = choose(None, engine, replicas)
    [model] = parse_manifests(text)
    assert model.kind == "Model"
    assert sum(wanted_pods(text).values()) == (replicas or 1)
    assert served_models(text) == ["simulated" if engine else "smollm2"]


def test_a_file_is_taken_as_it_is() -> None:
    assert choose(TWO, None, None) == TWO


@pytest.mark.parametrize(
    ("text", "engine", "replicas"), [(TWO, "simulated", None), (TWO, None, 2), (None, "vllm", None)]
)
def test_flags_that_do_not_go_together_are_refused(text, engine, replicas) -> None:
    with pytest.raises(BadOptions):
        choose(text, engine, replicas)


def test_names_models_pods_and_weights_are_read_from_it() -> None:
    assert names(TWO) == [
        Named("Model", "n", "a"),
        Named("Model", "default", "asleep"),
        Named("Pod", "default", "p"),
    ]
    assert served_models(TWO) == ["served"]
    assert wanted_pods(TWO) == {("n", "a-x"): 2, ("n", "a-y"): 1, ("default", "asleep-x"): 0}
    assert weights(TWO) == ["file:///m.gguf"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "not YAML"),
        ("", "no objects"),
        ("# nothing\n---\n", "no objects"),
        ("3", "expected an object"),
        ("kind: Model", "apiVersion: expected"),
        (HEAD + "spec: abc", "spec: "),
        (HEAD + "spec: {backends: x}", "spec.backends: "),
        (HEAD + "spec: {backend: []}", "spec.backend: unknown field"),
        (HEAD + 'spec: {backends: [{name: x, type: Simulated, minReplicas: "2"}]}', "minReplicas: expected a whole"),
    ],
)
def test_a_file_that_the_cluster_would_refuse_is_refused_at_once_with_the_place(text: str, problem: str) -> None:
    with pytest.raises(BadOptions, match=problem):
        choose(text, None, None)
    with pytest.raises(BadOptions, match=problem):
        wanted_pods(text)


def test_replicas_count_as_the_cluster_counts_them() -> None:
    text = HEAD + "spec: {backends: [{name: x, type: Simulated, minReplicas: 2}]}"
    [model] = parse_manifests(text)
    assert isinstance(model, Model)
    assert wanted_pods(text) == {("default", "m-x"): model.spec.backends[0].min_replicas} == {("default", "m-x"): 2}
    assert served_models(text) == ["m"]


def test_the_examples_are_yaml_that_up_understands() -> None:
    for path in sorted((ROOT / "examples").glob("*.yaml")):
        assert names(path.read_text()), path


def test_pools_that_are_written_out_are_waited_for_as_models_are() -> None:
    text = (ROOT / "examples" / "prefill-decode.yaml").read_text()
    assert wanted_pods(text) == {("default", "split"): 4}
    assert served_models(text) == ["split"]
