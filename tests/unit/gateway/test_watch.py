from __future__ import annotations

import pytest

from matrixinfer.bus.contracts.dispatch import WhereAnswer
from matrixinfer.gateway.relay.watch import Finding, Silence, Step

UNKNOWN = WhereAnswer("unknown")


def step(silence: Silence, now: float, *, bound: bool = False, accepted: bool = True, up: float | None = 0.0) -> Step:
    return silence.next_step(now, bound=bound, accepted=accepted, link_up_since=up)


@pytest.mark.parametrize(
    ("now", "bound", "accepted", "up", "expected"),
    [
        (11.9, True, True, 0.0, Step.NOTHING),
        (12.0, True, True, 0.0, Step.ASK_AGENT),
        (12.0, False, True, 0.0, Step.ASK_DISPATCH),
        (12.0, False, False, 0.0, Step.NOTHING),
        (10.5, True, True, 10.2, Step.ASK_AGENT),
        (10.5, False, True, 10.2, Step.ASK_DISPATCH),
        (12.0, True, True, None, Step.NOTHING),
        (40.0, True, True, None, Step.EXPIRE),
        (40.0, False, False, 0.0, Step.EXPIRE),
    ],
)
def test_it_asks_after_two_seconds_of_silence_or_a_restored_link(now, bound, accepted, up, expected):
    assert step(Silence(10.0, 40.0), now, bound=bound, accepted=accepted, up=up) is expected


def test_a_queued_request_is_asked_after_less_and_less_often():
    silence, now, asked = Silence(0.0, 1000.0), 0.0, []
    while now < 40:
        now += 1
        if step(silence, now) is Step.ASK_DISPATCH:
            asked.append(now)
            assert silence.judge(WhereAnswer("queued", 7), now, 1) is Finding.WAIT
    assert asked == [2, 6, 14, 24, 34]


def test_unknown_twice_a_second_apart_means_publish_again_and_three_attempts_are_the_most():
    silence = Silence(0.0, 1000.0)
    assert silence.judge(UNKNOWN, 2.0, 1) is Finding.WAIT
    assert silence.judge(UNKNOWN, 2.9, 1) is Finding.WAIT
    assert silence.judge(UNKNOWN, 3.0, 1) is Finding.REPUBLISH
    assert silence.judge(UNKNOWN, 5.0, 2) is Finding.WAIT
    assert silence.judge(UNKNOWN, 6.0, 2) is Finding.REPUBLISH
    assert silence.judge(UNKNOWN, 8.0, 3) is Finding.WAIT
    assert silence.judge(UNKNOWN, 9.0, 3) is Finding.LOST


def test_an_answer_between_two_unknowns_starts_the_count_anew():
    silence = Silence(0.0, 1000.0)
    silence.judge(UNKNOWN, 2.0, 1)
    silence.judge(WhereAnswer("placed", pod="pod-a"), 3.0, 1)
    assert silence.judge(UNKNOWN, 5.0, 1) is Finding.WAIT


def test_a_settled_request_is_fetched_from_its_pod_and_lost_when_there_is_none():
    silence = Silence(0.0, 1000.0)
    assert silence.judge(WhereAnswer("settled", pod="pod-a", hop=1), 2.0, 1) is Finding.FETCH
    assert silence.judge(WhereAnswer("settled"), 3.0, 1) is Finding.WAIT
    assert silence.judge(WhereAnswer("settled"), 4.0, 1) is Finding.LOST
