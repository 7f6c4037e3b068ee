"""Which models `up` serves."""

from __future__ import annotations

import pytest
import yaml

from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.up.errors import BadOptions
from matrixinfer.up.manifests import Named, choose, default_manifest, names, served_models, wanted_pods, weights
from support.checkout import ROOT

TWO = """
kind: Model
metadata: {name: a, namespace: n}
spec: {name: served, backends: [{name: x, type: Simulated, minReplicas: 2}, {name: y, type: Simulated}]}
---
kind: Model
metadata: {name: asleep}
spec: {backends: [{name: x, type: LlamaCpp, modelURI: 'file:///m.gguf', minReplicas: 0}]}
---
kind: ModelRoute
metadata: {name: r}
"""


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
        Named("ModelRoute", "default", "r"),
    ]
    assert served_models(TWO) == ["served"]
    assert wanted_pods(TWO) == {("n", "a"): 3, ("default", "asleep"): 0}
    assert weights(TWO) == ["file:///m.gguf"]


def test_a_text_that_is_not_yaml_is_refused() -> None:
    with pytest.raises(BadOptions, match="not YAML"):
        names("a: [")


@pytest.mark.parametrize("text", ["", "3", "kind: Model", "kind: Model\nspec: {backends: x}", "- 1\n- 2"])
def test_whatever_yaml_says_is_left_to_the_cluster_to_refuse(text: str) -> None:
    names(text)
    wanted_pods(text)
    assert weights(text) == []


def test_the_examples_are_yaml_that_up_understands() -> None:
    for path in sorted((ROOT / "examples").glob("*.yaml")):
        assert list(yaml.safe_load_all(path.read_text()))
        assert names(path.read_text()), path
