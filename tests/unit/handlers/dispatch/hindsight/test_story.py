"""Records of one request, out of many batches, become one story; and one sentence says why."""

from __future__ import annotations

import pytest

from matrixinfer.bus.contracts.decision import Candidate, Decision, DecisionBatch, Ending, FirstToken, Rejection
from matrixinfer.bus.contracts.load import Finished, WorkKey
from matrixinfer.handlers.dispatch.hindsight.rebuild import Expected
from matrixinfer.handlers.dispatch.hindsight.story import story_of
from matrixinfer.handlers.dispatch.hindsight.why import why


def a_decision(rid: str = "a", attempt: int = 1, hop: int = 1, *candidates: Candidate, pod: str = "p1") -> Decision:
    return Decision(rid, attempt, hop, "t", pod, "b", 100.0, 0.5, 10, list(candidates), "default")


def a_batch(*decisions: Decision, **more: object) -> DecisionBatch:
    return DecisionBatch("ns", "ms", 1, list(decisions), **more)  # type: ignore[arg-type]  # lists of each kind


def finished(rid: str, attempt: int, hop: int, outcome: str = "completed") -> Finished:
    return Finished(WorkKey(rid, attempt, hop), outcome, True, ttft_s=0.1)  # type: ignore[arg-type]  # a Literal


def test_records_are_joined_by_attempt_and_hop_and_told_in_their_order():
    batches = [
        a_batch(a_decision("a", 2, 1), a_decision("b"), a_decision("a", 1, 1)),
        a_batch(
            a_decision("a", 1, 2), first_tokens=[FirstToken("a", 1, 2, "p1", 0.7), FirstToken("b", 1, 1, "p", 9.0)]
        ),
        a_batch(endings=[Ending("p1", finished("a", 1, 2)), Ending("p1", finished("b", 1, 1))]),
    ]
    story = story_of("a", batches)
    assert [step.key for step in story.steps] == [(1, 1), (1, 2), (2, 1)]
    first, second, _ = story.steps
    assert (first.first_token, first.finished) == (None, None)
    assert second.first_token is not None
    assert second.first_token.ttft_s == 0.7
    assert second.finished == finished("a", 1, 2)
    assert story.has_ended()


def test_one_that_was_only_refused_has_a_story_and_one_that_nobody_names_has_none():
    batches = [a_batch(rejections=[Rejection("a", 1, 0, "t", 100.0, 3.0, 504, "too late")])]
    assert story_of("a", batches).has_ended()
    assert story_of("b", batches).is_empty()


@pytest.mark.parametrize(
    ("candidates", "said"),
    [
        ([], "does not say"),
        ([Candidate("p1", 0.5)], "p1 was the only pod with room"),
        ([Candidate("p1", 0.5), Candidate("p2", 0.5)], "p1 was as good as 1 other: chance took it."),
        (
            [Candidate("p1", 0.5), Candidate("p2", 0.5), Candidate("p3", 0.5), Candidate("p4", 0.1)],
            "as good as 2 others",
        ),
        (
            [Candidate("p2", 0.9), Candidate("p1", 0.5)],
            "was drawn by the picker, though p2 scored 0.900 against its 0.500",
        ),
        (
            [Candidate("p1", 0.8, {"near": 1.0, "idle": 0.2}), Candidate("p2", 0.6, {"near": 0.1, "idle": 0.7})],
            "p1 beat p2 by 0.200: near 1.00 against 0.10, in spite of idle 0.20 against 0.70",
        ),
    ],
)
def test_one_sentence_says_why(candidates: list[Candidate], said: str):
    assert said in why(a_decision("a", 1, 1, *candidates), {})


def test_the_sentence_tells_what_was_expected_and_hides_nothing_that_spoke_against_the_winner():
    decision = a_decision("a", 1, 1, Candidate("p1", 0.8), Candidate("p2", 0.6))
    said = why(decision, {"p1": Expected(0, 0.1, 0.5), "p2": Expected(4096, 0.4, 0.9)})
    assert "expected: first token after 0.100 s against 0.400 s, 50% of its slots in use against 90%" in said
    assert said.endswith("; worse: 0 tokens cached against 4,096.")
