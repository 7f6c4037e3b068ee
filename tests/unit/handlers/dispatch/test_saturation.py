"""While all pods are behind with their prompts, requests wait where it is fair."""

from __future__ import annotations

from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.handlers.dispatch.saturation import LOOK_AGAIN_AFTER_S, Saturation
from support.scheduling import NOW, a_pod

AHEAD_S = 0.1  # 1,000 tokens at the rate of these pods


def pods(*prefill_tokens: int):
    return {f"p{at}": a_pod(f"p{at}", prefill_tokens=tokens) for at, tokens in enumerate(prefill_tokens)}


def test_all_behind_is_saturated_and_one_that_is_not_is_enough():
    assert Saturation(AHEAD_S).is_complete(pods(1500, 2000), NOW)
    assert not Saturation(AHEAD_S).is_complete(pods(1500, 900), NOW)
    assert not Saturation(AHEAD_S).is_complete(pods(), NOW)


def test_without_a_bound_nobody_is_behind():
    assert not Saturation(0.0).is_complete(pods(90_000), NOW)


def test_time_and_first_tokens_end_it():
    saturation, few = Saturation(AHEAD_S), pods(1500)
    assert saturation.is_complete(few, NOW)
    assert not saturation.is_complete(few, NOW + 0.06)
    few["p0"].footprints.add(WorkKey("next", 1, 1), 1500, 0, NOW + 0.06)
    assert saturation.is_complete(few, NOW + 0.06 + LOOK_AGAIN_AFTER_S)
    few["p0"].footprints.start(WorkKey("p0-ahead", 1, 1), NOW + 0.07)
    few["p0"].footprints.start(WorkKey("next", 1, 1), NOW + 0.07)
    assert not saturation.is_complete(few, NOW + 0.08)


def test_answers_in_one_piece_do_not_count_for_nobody_knows_when_their_prompts_are_done():
    pod = a_pod("p")
    pod.footprints.add(WorkKey("whole", 1, 1), 50_000, 50_000, NOW, is_silent=True)
    assert pod.prefill_ahead_s(NOW) == 0.0
    pod.footprints.add(WorkKey("streamed", 1, 1), 5_000, 5_000, NOW)
    assert pod.prefill_ahead_s(NOW) == 0.5
    pod.footprints.end(WorkKey("whole", 1, 1))
    assert pod.footprints.silent_tokens == 0
    assert pod.prefill_ahead_s(NOW) == 0.5
