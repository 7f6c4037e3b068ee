"""A mismatch is suspected when most of the cached tokens are wrong, and not for the reasons that are no mismatch."""

from __future__ import annotations

import random

import pytest

from matrixinfer.handlers.dispatch.cache_index.mismatch import MismatchCheck, Suspicion


def judged(samples: list[tuple[int, int]]) -> list[Suspicion]:
    check = MismatchCheck()
    for predicted, reported in samples:
        check.observe("pod-1", predicted, reported)
    return check.suspicions()


@pytest.mark.parametrize(
    ("samples", "suspected"),
    [
        ([(2048, 0)] * 30, True),
        ([(0, 2048)] * 30, True),
        ([(2048, 100), (2048, 300)] * 15, True),
        ([(2048, 0)] * 19, False),
        ([(2048, 2048)] * 100, False),
        ([(2048, 2048 + 240), (2048, 2047), (512, 496), (256, 255)] * 20, False),
        ([(0, 200), (256, 0)] * 50, False),
        ([(2048, 2048), (2048, 2048), (2048, 0)] * 20, False),
        ([(256, 500), (256, 500), (512, 0)] * 20, False),
        ([(2048, 2048)] * 50 + [(2048, 0)] * 100, True),
        ([(2048, 0)] * 50 + [(2048, 2048)] * 100, False),
        ([], False),
    ],
    ids=[
        "nothing is there",
        "nothing is predicted",
        "the template differs after the first blocks",
        "too few samples",
        "all is true",
        "parts of blocks",
        "less than a block",
        "a third was evicted",
        "parts of blocks, and a third was evicted",
        "it broke",
        "it was mended",
        "no samples",
    ],
)
def test_a_mismatch_is_suspected_where(samples, suspected):
    assert bool(judged(samples)) is suspected


def test_the_suspicion_tells_a_person_what_was_predicted_and_what_came():
    (found,) = judged([(2048, 512)] * 40)

    assert (found.pod, found.predicted_tokens, found.reported_tokens) == ("pod-1", 2048, 512)
    assert str(found) == (
        "hash, block-size or tokenizer mismatch suspected at pod pod-1: "
        "predicted 2048 cached tokens a request, the engine reports 512"
    )


def test_each_pod_is_judged_for_itself_and_a_forgotten_one_anew():
    check = MismatchCheck()
    rng = random.Random(1)
    for _ in range(40):
        tokens = rng.randrange(1024, 8192)
        check.observe("good", tokens, tokens)
        check.observe("bad", tokens, 0)
        check.observe("worse", tokens, 0)
    check.forget("worse")

    assert [suspicion.pod for suspicion in check.suspicions()] == ["bad"]


def test_what_a_predecessor_suspected_is_suspected_until_it_comes_true():
    check = MismatchCheck()
    check.recall("pod-1", 2048.0, 512.0)
    assert check.suspicions() == [Suspicion("pod-1", 2048.0, 512.0)]
    for _ in range(40):
        check.observe("pod-1", 2048, 2048)
    assert check.suspicions() == []
