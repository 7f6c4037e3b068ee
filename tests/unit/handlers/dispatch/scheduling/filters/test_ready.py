"""The filter `ready`."""

from typing import Any

import pytest

from matrixinfer.handlers.dispatch.scheduling.filters.ready import Ready
from matrixinfer.handlers.dispatch.scheduling.parameters import NoParameters
from support.scheduling import NOW, a_pod, a_request


def kept(**state: Any) -> bool:
    """Any: whatever a pod knows of itself."""
    return bool(Ready(NoParameters()).keep(a_request(), [a_pod("p", **state)], NOW))


def test_a_pod_of_which_nothing_bad_is_known_is_kept():
    assert kept()


@pytest.mark.parametrize(
    "state",
    [
        {"listed": False},
        {"introduced": False},
        {"silent": True},
        {"draining": True},
        {"retiring": True},
        {"closed_until": NOW + 1},
    ],
    ids=lambda state: next(iter(state)),
)
def test_one_that_left_is_unknown_silent_leaving_or_resting_is_dropped(state: dict[str, object]):
    assert not kept(**state)
