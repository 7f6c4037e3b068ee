"""Every example is accepted, and says what it seems to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from matrixinfer.handlers.api.autoscalingpolicybinding import AutoScalingPolicyBinding
from matrixinfer.handlers.api.engines import BackendType
from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.api.modelinfer import ModelInfer

EXAMPLES = Path(__file__).parents[4] / "examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_example_is_accepted(path):
    assert parse_manifests(path.read_text())


def test_the_real_example_names_verified_weights_and_its_own_chat_template():
    (model,) = parse_manifests((EXAMPLES / "smollm2.yaml").read_text())
    assert isinstance(model, Model)
    (backend,) = model.spec.backends
    assert backend.type is BackendType.LLAMA_CPP
    assert len(backend.model_uri.partition("#sha256=")[2]) == 64
    assert "system" not in backend.config["chat_template"]


def test_the_simulated_example_has_three_replicas():
    (model,) = parse_manifests((EXAMPLES / "simulated.yaml").read_text())
    assert isinstance(model, Model)
    assert [backend.min_replicas for backend in model.spec.backends] == [3]


def test_the_elastic_example_starts_within_the_bounds_of_its_binding():
    objects = {resource.kind: resource for resource in parse_manifests((EXAMPLES / "autoscaling.yaml").read_text())}
    binding, infer = objects["AutoScalingPolicyBinding"], objects["ModelInfer"]
    assert isinstance(binding, AutoScalingPolicyBinding)
    assert isinstance(infer, ModelInfer)
    (scaled,) = binding.spec.scaled
    assert scaled.claim == (infer.metadata.name, "")
    assert scaled.bounds.holds(infer.spec.replicas)
    assert binding.spec.policy_ref.name == objects["AutoScalingPolicy"].metadata.name
