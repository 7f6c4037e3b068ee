"""How a handler's end becomes the message's fate."""

from __future__ import annotations

import pytest

from matrixinfer.bus.app.verdicts import Again, Dead, Done, Later, Outcome, Patience, judge
from matrixinfer.bus.errors import Malformed, Reject, Retry


@pytest.mark.parametrize(
    ("error", "delivered", "can_schedule", "outcome"),
    [
        (None, 1, True, Done()),
        (None, 99, False, Done()),
        (Retry(30.0), 1, True, Later(30.0)),
        (Retry(30.0), 99, True, Later(30.0)),
        (Retry(0.5), 1, False, Again(0.5)),
        (Reject("no such kind"), 1, True, Dead("no such kind")),
        (Malformed("not a subject"), 1, True, Dead("not a subject")),
        (ValueError("x"), 1, True, Again(0.1)),
        (ValueError("x"), 2, True, Again(0.2)),
        (ValueError("x"), 4, True, Again(0.4)),
        (ValueError("x"), 5, True, Dead("failed 5 times, last with ValueError: x")),
    ],
)
def test_the_outcome_follows_from_error_and_deliveries(
    error: Exception | None, delivered: int, can_schedule: bool, outcome: Outcome
) -> None:
    patience = Patience(deliveries=5, first_wait_s=0.1, last_wait_s=0.4)
    assert judge(error, delivered, patience, can_schedule=can_schedule) == outcome
