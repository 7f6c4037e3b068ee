"""What a queue remembers of flows goes with their last request, whatever happened to them and whoever asked since."""

from __future__ import annotations

import gc
from types import FunctionType, ModuleType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.handlers.dispatch.fair.flow import Flow
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.fair.settings import FairSettings
from support.fair_queue import waiting

SETTINGS = FairSettings(lowest_priority=-1, highest_priority=2, ageing_s=8.0)


def remembered_flows(queue: FairQueue) -> set[tuple[str, int]]:
    """Tenants and priorities of all the flows that the queue keeps alive; each once."""
    found, seen, unseen = [], set(), [queue]
    while unseen:
        each = unseen.pop()
        if id(each) in seen or isinstance(each, type | FunctionType | ModuleType):
            continue
        seen.add(id(each))
        if isinstance(each, Flow):
            found.append((each.account.tenant, each.priority))
        unseen += gc.get_referents(each)
    assert len(found) == len(set(found)), "a flow that ended and came again is not two"
    return set(found)


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.sampled_from("abc"), st.integers(-1, 2), st.sampled_from(["", "s"])),
            st.tuples(st.just("remove"), st.integers(0, 9)),
            st.tuples(st.just("pass over the head")),
            st.tuples(st.just("recall")),
            st.tuples(st.just("wait"), st.sampled_from([0.0, 3.0, 20.0])),
        ),
        max_size=40,
    )
)
def test_only_flows_with_somebody_who_waits_are_remembered(steps: list[tuple[Any, ...]]) -> None:
    queue, now = FairQueue(SETTINGS), 0.0
    for what, *values in steps:
        if what == "push":
            tenant, priority, session = values
            queue.push(waiting(tenant, priority=priority, session=session, since=now))
        elif what == "remove" and len(queue):
            queue.remove(list(queue)[values[0] % len(queue)])
        elif what == "pass over the head" and (head := queue.head(now)) is not None:
            queue.pass_over(head)
        elif what == "recall":
            queue.recall()
        elif what == "wait":
            now += values[0]
        assert remembered_flows(queue) == {(request.tenant, request.priority) for request in queue}
