"""What holds for every policy on every workload."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.simulate.comparison import Options, run
from matrixinfer.simulate.errors import Stuck
from matrixinfer.simulate.generators import generate
from matrixinfer.simulate.loop import Loop
from matrixinfer.simulate.measures import Slo, measure
from matrixinfer.simulate.pods import H100_7B, SimulatedPod
from matrixinfer.simulate.policies import POLICIES
from matrixinfer.simulate.port import News, Verdict
from matrixinfer.simulate.workload import Arrival, Workload
from support.simulation import arrival, workload

SMALL = H100_7B.model_copy(update={"slots": 3, "kv_capacity_tokens": 6000, "max_batch_tokens": 512})

requests = st.fixed_dictionaries(
    {
        "at": st.floats(0, 3),
        "prefix": st.sampled_from(["a", "b"]),
        "prefix_blocks": st.integers(0, 6),
        "own": st.integers(1, 6000),
        "output": st.integers(1, 200),
    }
)
workloads = st.builds(
    lambda plans, concurrency: workload(
        *(arrival(f"r{number}", **plan) for number, plan in enumerate(sorted(plans, key=lambda plan: plan["at"]))),
        concurrency=concurrency,
    ),
    st.lists(requests, min_size=1, max_size=25),
    st.sampled_from([0, 2]),
)


@settings(deadline=None, max_examples=15)
@given(offered=workloads, patience_s=st.none() | st.floats(0.05, 1.0))
@pytest.mark.parametrize("prefill_pods", [0, 1])
@pytest.mark.parametrize("name", POLICIES)
def test_every_request_ends_exactly_once(
    name: str, prefill_pods: int, offered: Workload, patience_s: float | None
) -> None:
    lives, _ = run(offered, name, Options(pods=2, engine=SMALL, patience_s=patience_s, prefill_pods=prefill_pods))
    assert [life.arrival for life in lives] == list(offered.arrivals)
    for life in lives:
        fits = life.arrival.prompt_tokens + life.arrival.output_tokens <= SMALL.kv_capacity_tokens
        may_end = {"finished"} if fits and patience_s is None else {"finished", "refused", "cancelled"}
        if name.startswith("kthena"):  # which refuses while ten wait at every pod
            may_end.add("refused")
        assert life.end in may_end
        assert (life.end == "finished") == (life.request is not None and life.request.is_done)
        assert life.arrival.at <= life.sent_at <= life.ended_at
        if life.end == "finished":
            assert life.sent_at < life.first_token_at <= life.ended_at
            assert patience_s is None or life.ttft_s <= patience_s + 1e-9


@pytest.mark.parametrize("name", POLICIES)
def test_the_same_seed_gives_the_same_result(name: str) -> None:
    def results(seed: int) -> list[tuple[int, float, float]]:
        lives, _ = run(generate("hot-spot", seed, 3, 150), name, Options(pods=3, seed=seed))
        return [(life.pod, life.first_token_at, life.ended_at) for life in lives]

    assert results(1) == results(1)
    assert results(1) != results(2)


@pytest.mark.parametrize("name", POLICIES)
def test_an_idle_pod_gives_the_first_token_after_the_prefill_alone(name: str) -> None:
    tokens, output = 5000, 101
    (life,), _ = run(workload(arrival(own=tokens, output=output)), name, Options(pods=1))
    assert life.ttft_s == pytest.approx(tokens / H100_7B.prefill_tokens_per_s)
    steps = output - 1
    per_step_s = H100_7B.decode_step_s + H100_7B.decode_step_per_request_s
    contexts = sum(tokens + produced for produced in range(1, output))
    context_s = contexts * H100_7B.decode_step_per_context_token_s
    assert life.tpot_s * steps == pytest.approx(steps * per_step_s + context_s)


@pytest.mark.parametrize("name", POLICIES)
def test_prompts_that_share_nothing_never_hit(name: str) -> None:
    lives, _ = run(generate("no-reuse", 0, 2, 120), name, Options(pods=2))
    assert measure(lives, Slo(), closed_loop=False).hit_rate == 0


def test_a_closed_loop_never_has_more_under_way_than_it_may() -> None:
    offered = workload(*(arrival(f"r{number}", number * 1e-3) for number in range(40)), concurrency=5)
    lives, _ = run(offered, "random", Options(pods=2))
    changes = sorted([(life.sent_at, 1) for life in lives] + [(life.ended_at, -1) for life in lives])
    under_way = most = 0
    for _, change in changes:
        under_way += change
        most = max(most, under_way)
    assert most == 5


def test_our_platform_holds_what_has_no_slot_and_binds_it_when_one_is_free() -> None:
    offered = workload(*(arrival(f"r{number}", 0.0, output=50) for number in range(20)))
    lives, _ = run(offered, "default", Options(pods=2, engine=SMALL))
    by_pod = [sum(1 for life in lives if life.pod == pod) for pod in (0, 1)]
    assert min(by_pod) > 0
    firsts = [life.first_token_at for life in lives]
    assert firsts == sorted(firsts), "first come, first served"


class Hoarder:
    """A policy that places nothing."""

    period_s = 1.0

    def arrive(self, arrival: Arrival, now: float) -> list[Verdict]:
        return []

    def heard(self, news: News, now: float) -> list[Verdict]:
        return []

    def tick(self, now: float) -> list[Verdict]:
        return []

    def cancel(self, arrival: Arrival, now: float) -> None: ...


@pytest.mark.parametrize("period_s", [0.0, 1.0])
def test_a_policy_that_never_places_what_it_holds_is_found_out(period_s: float) -> None:
    policy = Hoarder()
    policy.period_s = period_s
    with pytest.raises(Stuck, match="1 of 1 requests never end"):
        Loop(workload(arrival()), [SimulatedPod(0, H100_7B)], policy).run()


def test_a_life_that_has_not_happened_has_no_times() -> None:
    lives, _ = run(workload(arrival(own=900_000)), "random", Options(pods=1))
    assert lives[0].end == "refused"
    assert math.isnan(lives[0].ttft_s)
