"""The pages about plug-ins say what is there, and their example runs."""

import json
import re
import tomllib
from random import Random
from typing import Any

import msgspec
import pytest
import yaml

from matrixinfer.bus.contracts.profile import Profile, WeightedPlugin
from matrixinfer.handlers.api.dispatch import Dispatch
from matrixinfer.handlers.dispatch.scheduling.profile import compile_profile
from matrixinfer.handlers.dispatch.scheduling.registry import BUILT_IN, Registry
from matrixinfer.handlers.reconcile import pool
from support.checkout import ROOT
from support.scheduling import NOW, a_pod, a_request, a_scheduler, surroundings

PLUGINS = (ROOT / "docs/plugins.md").read_text()
WRITE = (ROOT / "docs/write-a-scorer.md").read_text()


def rows(kind: str) -> dict[str, str]:
    """The names in the kind's table, and their last column."""
    section = PLUGINS.split(f"## {kind.capitalize()}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \|.*\|([^|]*)\|$", section, re.MULTILINE))


def told(parameters: type[msgspec.Struct]) -> str:
    """The parameters with their defaults, as the page tells them."""
    fields = msgspec.to_builtins(parameters())
    return ", ".join(f"`{name}` = {'None' if value is None else json.dumps(value)}" for name, value in fields.items())


@pytest.mark.parametrize("kind", Registry._fields)
def test_the_page_has_a_row_for_each_plugin_with_its_parameters_and_their_defaults(kind: str):
    table = {name: told(factory.parameters) for name, factory in getattr(BUILT_IN, kind).items()}
    assert {name: column.strip() for name, column in rows(kind).items()} == table


def test_the_example_of_a_scorer_runs_in_a_profile():
    (example,) = re.findall(r"^```python\n(.*?)^```", WRITE, re.MULTILINE | re.DOTALL)
    (entry,) = re.findall(r"^```toml\n(.*?)^```", WRITE, re.MULTILINE | re.DOTALL)
    ((name, value),) = tomllib.loads(entry)["project"]["entry-points"]["matrixinfer.scorers"].items()
    written: dict[str, Any] = {}  # Any: what a page defines
    exec(example, written)
    registry = BUILT_IN._replace(scorers={name: written[value.split(":")[1]]})
    profile = Profile(scorers=[WeightedPlugin(name, parameters={"enough_tokens": 1000})])
    scheduler = compile_profile(profile, registry, surroundings())
    pods = [a_pod("small", kv_capacity_tokens=250), a_pod("large", kv_capacity_tokens=5000)]
    choice = scheduler.pick(a_request(), pods, NOW, Random(1))
    assert [(candidate.pod, candidate.scores[name]) for candidate in choice.candidates] == [
        ("large", 1.0),
        ("small", 0.25),
    ]


def test_the_profile_of_the_page_is_one_that_a_modelserver_takes_and_dispatch_can_use():
    (example,) = re.findall(r"```yaml\n(.*?)```", PLUGINS, re.DOTALL)
    chosen = Dispatch.model_validate(yaml.safe_load(example)["spec"]["dispatch"])
    profile = pool.profile_of(chosen.profile)
    assert a_scheduler(profile).name == "sticky"
    assert chosen.tenant_weights == {"gold": 2.0}
