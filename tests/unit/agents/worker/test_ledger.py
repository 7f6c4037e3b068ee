"""What an agent takes, refuses and remembers."""

from __future__ import annotations

import pytest

from matrixinfer.agents.worker.ledger import REMEMBER_ABORTED_S, REMEMBER_ENDED_S, Ledger, Refusal, Work
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.bus.contracts.load import Outcome, WorkKey

NOW = 1000.0
KEY = WorkKey("r", 1, 1)


def envelope(*, boot: str = "b", epoch: int = 5, shard: int = 0) -> Envelope:
    return Envelope(
        rid="r",
        epoch=epoch,
        hop=1,
        boot=boot,
        tenant="t",
        namespace="n",
        modelserver="m",
        shard=shard,
        gateway="g",
        remaining_s=10.0,
        endpoint="completions",
        model="x",
        body=b"{}",
    )


def judge(ledger: Ledger[Work], *, now: float = NOW, **fields: object) -> Refusal | None:
    return ledger.judge(KEY, envelope(**fields), NOW + 10.0, now)  # type: ignore[arg-type]


def take(ledger: Ledger[Work], key: WorkKey = KEY, gateway: str = "g") -> Work:
    work = Work(key, gateway, NOW, NOW + 10.0)
    ledger.take(work)
    return work


@pytest.fixture
def ledger() -> Ledger[Work]:
    return Ledger("b")


def test_work_of_this_boot_is_taken(ledger: Ledger[Work]) -> None:
    assert judge(ledger) is None


def test_work_of_another_boot_is_refused(ledger: Ledger[Work]) -> None:
    assert judge(ledger, boot="earlier") == "refused"


def test_work_of_an_older_epoch_than_a_dump_told_is_refused(ledger: Ledger[Work]) -> None:
    ledger.fence(("n", "m", 0), 6)
    assert judge(ledger, epoch=5) == "refused"
    assert judge(ledger, epoch=6) is None


def test_work_of_an_older_epoch_than_work_heard_before_is_refused(ledger: Ledger[Work]) -> None:
    assert judge(ledger, epoch=7) is None
    assert judge(ledger, epoch=6) == "refused"


def test_epochs_count_for_each_shard_apart(ledger: Ledger[Work]) -> None:
    assert judge(ledger, epoch=7, shard=1) is None
    assert judge(ledger, epoch=6, shard=0) is None


def test_work_past_its_deadline_is_expired(ledger: Ledger[Work]) -> None:
    assert judge(ledger, now=NOW + 10.0) == "expired"


def test_a_draining_agent_refuses(ledger: Ledger[Work]) -> None:
    ledger.draining = True
    assert judge(ledger) == "refused"


@pytest.mark.parametrize("draining", [False, True])
@pytest.mark.parametrize("epoch", [4, 5])
def test_a_second_copy_of_what_is_in_hand_is_a_duplicate_whatever_else_holds(
    ledger: Ledger[Work], draining: bool, epoch: int
) -> None:
    assert judge(ledger, epoch=5) is None
    take(ledger)
    ledger.draining = draining
    assert judge(ledger, epoch=epoch) == "duplicate"


@pytest.mark.parametrize("outcome", ["completed", "failed", "cancelled", "expired"])
def test_a_second_copy_of_what_ran_is_a_duplicate_as_long_as_it_is_remembered(
    ledger: Ledger[Work], outcome: Outcome
) -> None:
    ledger.finish(take(ledger), outcome, Usage(), NOW)
    assert judge(ledger, now=NOW + 1) == "duplicate"
    ledger.forget(NOW + REMEMBER_ENDED_S)
    assert judge(ledger, now=NOW + 1) is None


def test_what_was_refused_may_come_again(ledger: Ledger[Work]) -> None:
    ledger.refuse(KEY, "refused", NOW)
    assert judge(ledger) is None


def test_an_abort_that_overtakes_its_work_is_remembered_until_the_work_cannot_come(ledger: Ledger[Work]) -> None:
    assert ledger.abort(KEY, NOW) is None
    assert judge(ledger) == "cancelled"
    ledger.forget(NOW + REMEMBER_ABORTED_S)
    assert judge(ledger) is None


def test_an_aborted_key_is_cancelled_even_where_it_would_be_refused(ledger: Ledger[Work]) -> None:
    ledger.abort(KEY, NOW)
    assert judge(ledger, boot="earlier") == "cancelled"


def test_an_abort_of_what_ended_leaves_nothing_behind(ledger: Ledger[Work]) -> None:
    ledger.finish(take(ledger), "completed", Usage(), NOW)
    assert ledger.abort(KEY, NOW) is None
    ledger.forget(NOW + REMEMBER_ENDED_S)
    assert judge(ledger) is None


def test_an_abort_finds_what_is_in_hand(ledger: Ledger[Work]) -> None:
    work = take(ledger)
    assert ledger.abort(KEY, NOW) is work


def test_the_end_tells_usage_times_and_whether_it_had_started(ledger: Ledger[Work]) -> None:
    work, unstarted = take(ledger), take(ledger, WorkKey("s", 1, 1))
    work.first_at = NOW + 0.5
    finished = ledger.finish(work, "completed", Usage(1, 0, 2), NOW + 2.0)
    assert (finished.started, finished.ttft_s, finished.duration_s) == (True, 0.5, 2.0)
    assert finished.usage.output_tokens == 2
    assert not ledger.finish(unstarted, "failed", Usage(), NOW + 2.0).started


def test_waiting_becomes_running_with_the_first_token(ledger: Ledger[Work]) -> None:
    one, other = take(ledger), take(ledger, WorkKey("s", 1, 1), gateway="h")
    one.first_at = NOW
    assert ledger.running() == [one]
    assert ledger.waiting() == [other]
    assert ledger.gateways() == {"g", "h"}
    assert ledger.of_gateway("h") == [other]


def test_overdue_is_what_is_past_its_deadline_and_not_ended_early(ledger: Ledger[Work]) -> None:
    work, ended = take(ledger), take(ledger, WorkKey("s", 1, 1))
    ended.outcome = "cancelled"
    assert ledger.overdue(NOW + 9.9) == []
    assert ledger.overdue(NOW + 10.0) == [work]


def test_ended_work_is_told_for_a_minute_and_a_refused_copy_does_not_shorten_that(ledger: Ledger[Work]) -> None:
    ledger.refuse(KEY, "refused", NOW)
    finished = ledger.finish(take(ledger), "completed", Usage(), NOW + 30.0)
    assert ledger.ended_of_late(NOW + REMEMBER_ENDED_S + 1.0) == [finished]
    assert ledger.ended_of_late(NOW + 30.0 + REMEMBER_ENDED_S) == []
