"""What counts for and against the index, and what says nothing."""

from __future__ import annotations

from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.bus.contracts.load import Finished, Outcome, WorkKey
from matrixinfer.handlers.dispatch.cache_index.predictions import FORGOTTEN_AFTER_S, PATIENCE_S, Predictions
from matrixinfer.handlers.dispatch.pod import Pod
from support.scheduling import a_request

HASHES = b"".join(bytes([number] * 8) for number in range(1, 9))
TOKENS = 8 * 256


def a_pod(boot: str = "b1") -> Pod:
    pod = Pod("p1")
    pod.meet(boot)
    return pod


def suspects(
    *,
    told: int,
    reported: int,
    sent: int = 0,
    every_s: float = 1.0,
    boot: str = "b1",
    outcome: Outcome = "completed",
    requests: int = 40,
) -> bool:
    predictions = Predictions()
    for number in range(requests):
        asked = a_request(TOKENS, key=(f"r{number}", 1), block_hashes=HASHES)
        predictions.make(asked, a_pod(), told, sent, number * every_s)
        end = Finished(WorkKey(f"r{number}", 1, 1), outcome, True, Usage(TOKENS, reported, 1))
        predictions.ended("p1", boot, end)
    return bool(predictions.suspicions())


def test_an_engine_that_reports_what_was_told_is_believed() -> None:
    assert not suspects(told=TOKENS, reported=TOKENS - 1)


def test_what_never_comes_true_is_suspected() -> None:
    assert suspects(told=TOKENS, reported=0)
    assert suspects(told=0, reported=TOKENS)


def test_ends_of_another_boot_or_without_an_answer_say_nothing() -> None:
    assert not suspects(told=TOKENS, reported=0, boot="b2")
    assert not suspects(told=TOKENS, reported=0, outcome="cancelled")


def test_what_was_sent_a_moment_ago_may_be_cached_though_nobody_told() -> None:
    assert not suspects(told=0, sent=TOKENS, reported=TOKENS, every_s=PATIENCE_S / 100)


def test_what_was_sent_again_and_again_and_is_never_told_is_suspected() -> None:
    assert suspects(told=0, sent=TOKENS, reported=TOKENS)


def test_patience_begins_anew_with_what_was_not_sent_for_long() -> None:
    assert not suspects(told=0, sent=TOKENS, reported=TOKENS, every_s=FORGOTTEN_AFTER_S + 1)


def test_a_pod_that_is_gone_is_suspected_no_more() -> None:
    predictions = Predictions()
    for number in range(30):
        predictions.make(a_request(TOKENS, key=(f"r{number}", 1), block_hashes=HASHES), a_pod(), TOKENS, 0, 0.0)
        predictions.ended("p1", "b1", Finished(WorkKey(f"r{number}", 1, 1), "completed", True))
    assert [suspicion.pod for suspicion in predictions.suspicions()] == ["p1"]
    predictions.forget("p1")
    assert predictions.suspicions() == []
