"""How objects are named on the command line."""

from __future__ import annotations

import pytest

from matrixinfer.cli.errors import CliError
from matrixinfer.cli.targets import Target, kind_and_name, read_target


@pytest.mark.parametrize(
    ("kind", "name", "meant"),
    [
        ("model", "m", ("model", "m")),
        ("model/m", None, ("model", "m")),
        ("models", None, ("models", None)),
    ],
)
def test_kind_and_name_may_be_one_word_or_two(kind, name, meant):
    assert kind_and_name(kind, name) == meant


@pytest.mark.parametrize(("kind", "name"), [("model/", None), ("/m", None), ("model/m", "n"), ("/", None)])
def test_what_lies_between_is_refused(kind, name):
    with pytest.raises(CliError, match="expected KIND NAME or KIND/NAME, got"):
        kind_and_name(kind, name)


def test_what_can_be_scaled_is_a_model_or_a_modelinfer():
    assert read_target("mi/i") == Target("ModelInfer", "i")
    with pytest.raises(CliError, match="expected model/NAME or modelinfer/NAME, got 'pod/p'"):
        read_target("pod/p")
