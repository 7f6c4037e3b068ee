"""The table of plug-ins, and those of other distributions."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from matrixinfer.handlers.dispatch.errors import BadPlugin
from matrixinfer.handlers.dispatch.scheduling import registry
from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from matrixinfer.handlers.dispatch.scheduling.registry import BUILT_IN, Factory, installed
from matrixinfer.handlers.dispatch.scheduling.scorers.least_requests import LeastRequests

MODULE = "matrixinfer.handlers.dispatch.scheduling.registry"


def install(monkeypatch: pytest.MonkeyPatch, group: str, name: str, value: str) -> None:
    points = EntryPoints([EntryPoint(name=name, value=value, group=group)])
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))


def test_without_other_distributions_the_built_in_ones_are_all():
    assert installed() == BUILT_IN


@pytest.mark.parametrize("kind", ["filters", "scorers", "pickers"])
def test_a_plugin_of_another_distribution_stands_beside_the_built_in_ones(monkeypatch, kind: str):
    factory = Factory(NoParameters, LeastRequests)
    monkeypatch.setattr(registry, "not_a_module", factory, raising=False)
    install(monkeypatch, f"matrixinfer.{kind}", "mine", f"{MODULE}:not_a_module")
    tables = installed()._asdict()
    assert tables[kind] == {**getattr(BUILT_IN, kind), "mine": factory}
    assert all(tables[other] == getattr(BUILT_IN, other) for other in tables if other != kind)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("kv_cache", f"{MODULE}:BUILT_IN", r"'kv_cache' = '.*:BUILT_IN' of matrixinfer.scorers: the name is taken"),
        ("mine", "not_installed:scorer", r"'mine' = 'not_installed:scorer' .* cannot be loaded .*reinstall"),
        ("mine", f"{MODULE}:nothing", r"'mine' .* cannot be loaded"),
        ("mine", f"{MODULE}:Registry", r"'mine' .*: expected a Factory, got type"),
    ],
)
def test_one_that_shadows_or_cannot_be_used_is_an_error_that_names_it(
    monkeypatch, name: str, value: str, complaint: str
):
    install(monkeypatch, "matrixinfer.scorers", name, value)
    with pytest.raises(BadPlugin, match=complaint):
        installed()
