"""Percentiles, goodput and fairness, by numbers that can be checked by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.simulate.life import Life
from matrixinfer.simulate.measures import Slo, fair_parts, jain_index, measure, percentile, percentiles
from matrixinfer.simulate.workload import Arrival


def life(number: int, sent_at: float, ttft_s: float, duration_s: float, *, tenant: str = "t", output: int = 11) -> Life:
    arrival = Arrival(rid=f"r{number}", at=sent_at, prompt_tokens=100, output_tokens=output, tenant=tenant)
    return Life(arrival, sent_at, sent_at + ttft_s, sent_at + duration_s, 0, None, "finished")


@pytest.mark.parametrize(
    ("values", "share", "expected"), [([5.0], 0.9, 5.0), ([0.0, 10.0], 0.5, 5.0), ([0.0, 1.0, 2.0, 3.0, 4.0], 0.9, 3.6)]
)
def test_a_percentile_lies_between_the_nearest_ranks(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == pytest.approx(expected)


def test_nothing_has_no_percentiles() -> None:
    assert math.isnan(percentiles([]).p50)


def test_goodput_counts_answers_within_both_limits_over_the_time_of_arrivals() -> None:
    lives = [
        life(0, 0.0, 1.0, 1.1),
        life(1, 1.0, 3.0, 3.1),  # first token too late
        life(2, 2.0, 1.0, 9.0),  # the others too slow
        life(3, 4.0, 1.0, 1.0, output=1),  # one token has no time between two
    ]
    assert measure(lives, Slo(2.0, 0.05), closed_loop=False).goodput_rps == pytest.approx(2 / 4)
    assert measure(lives, Slo(2.0, 0.05), closed_loop=True).goodput_rps == pytest.approx(2 / 11)


def test_what_was_refused_or_given_up_is_rejected_and_in_no_percentile() -> None:
    refused = Life(Arrival(rid="x", at=0.0, prompt_tokens=1, output_tokens=1), 0.0, math.nan, 5.0, -1, None, "refused")
    found = measure([life(0, 0.0, 1.0, 1.1), refused], Slo(), closed_loop=False)
    assert found.rejected == 1
    assert found.ttft_s.p99 == pytest.approx(1.0)


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=20))
def test_jains_index_is_one_for_equals_and_never_less_than_one_nth(values: list[float]) -> None:
    assert 1 / len(values) - 1e-9 <= jain_index(values) <= 1 + 1e-9
    assert jain_index([values[0]] * len(values)) == pytest.approx(1)


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_fair_parts_share_all_there_is_and_give_nobody_more_than_demanded(
    demands: dict[str, float], share: float
) -> None:
    total = share * sum(demands.values())
    parts = fair_parts(demands, total)
    assert sum(parts.values()) == pytest.approx(total)
    assert all(parts[name] <= demands[name] + 1e-6 for name in demands)
    level = max(parts.values())
    assert all(parts[name] == pytest.approx(min(demands[name], level), abs=1e-3) for name in demands)


def test_a_heavy_tenant_that_crowds_out_a_light_one_is_unfair_and_one_that_waits_is_not() -> None:
    def served(heavy_ends_s: float, light_ends_s: float) -> float:
        heavy = [life(number, 0.0, 0.1, heavy_ends_s if number > 1 else 1.0, tenant="heavy") for number in range(10)]
        light = [life(10 + number, 0.0, 0.1, light_ends_s, tenant="light") for number in range(2)]
        last = life(20, 100.0, 0.1, 0.2, tenant="heavy")
        return measure([*heavy, *light, last], Slo(), closed_loop=False).jain

    assert served(heavy_ends_s=1.0, light_ends_s=500.0) < 0.6
    assert served(heavy_ends_s=500.0, light_ends_s=1.0) > 0.9


def test_the_worst_tenant_is_the_one_with_the_largest_p99() -> None:
    lives = [life(0, 0.0, 1.0, 2.0, tenant="a"), life(1, 0.0, 4.0, 5.0, tenant="b")]
    assert measure(lives, Slo(), closed_loop=False).worst_tenant_ttft_p99_s == pytest.approx(4.0)
