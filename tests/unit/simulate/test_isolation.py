"""What one tenant does to the others."""

from __future__ import annotations

import pytest

from matrixinfer.simulate.comparison import Options
from matrixinfer.simulate.errors import BadChoice
from matrixinfer.simulate.generators import generate
from matrixinfer.simulate.isolation import isolate
from matrixinfer.simulate.workload import scaled


def silent(name: str, ended: int) -> None:
    pass


@pytest.mark.parametrize(("rate", "most"), [(0.5, 1.1), (0.8, 1.5)])
def test_a_tenant_at_ten_times_the_rate_keeps_the_others_p99_within_half_as_much_again(rate: float, most: float):
    """Up to 90 % of what the pods can do; beyond it the next test."""
    offered = scaled(generate("multi-tenant", 0, 8, 3000), rate)
    found = isolate(offered, "heavy", ["default"], Options(8), silent)["default"]
    assert found.p99_ratio <= most


def test_in_overload_the_heavy_tenant_waits_and_the_light_ones_do_not_wait_behind_it():
    offered = scaled(generate("multi-tenant", 0, 8, 3000), 1.5)
    found = isolate(offered, "heavy", ["default", "llm-d-sticky"], Options(8), silent)
    ours, theirs = found["default"], found["llm-d-sticky"]
    assert ours.beside_s.p99 < 1.0
    assert ours.tenant_s.p50 > 5.0
    assert ours.beside_s.p99 < 0.2 * theirs.beside_s.p99


def test_a_tenant_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(BadChoice, match="tenant 'nobody': expected one of several in this workload: heavy, light-1"):
        isolate(generate("multi-tenant", 0, 2, 100), "nobody", ["default"], Options(2), silent)
