"""The table of engines, and how their configuration is checked."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from matrixinfer.agents.engines import registry
from matrixinfer.agents.engines.errors import BadConfig
from matrixinfer.agents.engines.llamacpp.engine import LlamaCppEngine
from matrixinfer.agents.engines.port import Engine
from matrixinfer.agents.engines.simulated.engine import SimulatedEngine


def test_each_kind_of_the_table_is_created() -> None:
    assert isinstance(registry.create("Simulated", "", "m", {}), SimulatedEngine)
    assert isinstance(registry.create("LlamaCpp", "/model.gguf", "m", {}), LlamaCppEngine)


def test_an_unknown_kind_is_named_beside_the_known_ones() -> None:
    with pytest.raises(BadConfig, match=r"'Triton'.*LlamaCpp, Simulated"):
        registry.create("Triton", "", "m", {})


@pytest.mark.parametrize("kind", ["Simulated", "LlamaCpp"])
def test_an_unknown_field_is_named_beside_the_known_ones(kind: str) -> None:
    with pytest.raises(BadConfig, match=r"'slotz' is not known; known are: .*\bslots\b"):
        registry.create(kind, "", "m", {"slotz": 3})


@pytest.mark.parametrize(
    ("kind", "config", "complaint"),
    [
        ("Simulated", {"slots": 0}, "slots: .*greater than or equal to 1, got 0"),
        ("Simulated", {"slots": "many"}, "slots: .*integer.*got 'many'"),
        ("Simulated", {"decode_step_s": float("nan")}, "decode_step_s: "),
        ("Simulated", {"slots": 64, "max_batch_tokens": 32}, "max_batch_tokens to be at least slots"),
        ("LlamaCpp", {"threads": 0}, "threads: "),
        ("LlamaCpp", {"seed": -1}, "seed: "),
        ("LlamaCpp", {"chat_template": ""}, "chat_template: "),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_field(kind: str, config: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadConfig, match=complaint):
        registry.create(kind, "", "m", config)


def test_every_bad_field_is_told_at_once() -> None:
    with pytest.raises(BadConfig, match=r"slots: .*; .*block_tokens: "):
        registry.create("Simulated", "", "m", {"slots": 0, "block_tokens": 0})


def create_by_plugin(model_path: str, served_model: str, config: Mapping[str, Any]) -> Engine:
    return registry.create("Simulated", model_path, served_model, {})


def install(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    points = EntryPoints([EntryPoint(name=name, value=value, group=registry.ENTRY_POINT_GROUP)])
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))


def test_an_engine_of_another_distribution_is_created_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "not_a_module", create_by_plugin, raising=False)
    install(monkeypatch, "Other", "matrixinfer.agents.engines.registry:not_a_module")
    assert isinstance(registry.create("Other", "", "m", {}), SimulatedEngine)


def test_a_broken_entry_point_is_a_bad_config_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "Other", "matrixinfer_other_engine:create")
    with pytest.raises(BadConfig, match=r"'Other'.*matrixinfer_other_engine:create.*reinstall"):
        registry.create("Other", "", "m", {})
    with pytest.raises(BadConfig, match="LlamaCpp, Other, Simulated"):
        registry.create("Nothing", "", "m", {})
