"""Predictions of what goes first: exact positions in a short queue, near ones in a long one; lengths of answers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.handlers.dispatch.fair.fluid import Backlog, Fluid, Work
from matrixinfer.handlers.dispatch.fair.output_lengths import OutputLengths
from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.fair.settings import FairSettings
from support.fair_queue import take_all, waiting

SETTINGS = FairSettings(quantum_tokens=0.0, weights={"b": 2.0})


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(1, 900), st.sampled_from(["", "s"])),
        max_size=30,
    )
)
def test_in_a_short_queue_positions_are_the_order_in_which_requests_leave(drawn):
    queue = FairQueue(SETTINGS)
    requests = []
    for tenant, priority, prompt_tokens, session in drawn:
        requests.append(waiting(f"{tenant}{priority}", priority=priority, prompt_tokens=prompt_tokens, session=session))
        queue.push(requests[-1])
    positions = {request.key: queue.position(request) for request in requests}
    assert [positions[request.key] for request in take_all(queue)] == list(range(len(requests)))


def test_in_a_long_queue_positions_are_near():
    queue = FairQueue(SETTINGS)
    requests = [waiting("abcd"[at % 17 % 4], prompt_tokens=50 + at * 37 % 100) for at in range(2000)]
    for request in requests:
        queue.push(request)
    for request in requests[::9]:
        queue.remove(request)
    positions = {request.key: queue.position(request) for request in queue}
    served = take_all(queue)
    assert max(abs(positions[request.key] - at) for at, request in enumerate(served)) <= len(served) / 16


def test_in_a_long_queue_higher_priorities_are_before():
    queue = FairQueue(SETTINGS)
    for _ in range(200):
        queue.push(waiting("a"))
        queue.push(waiting("b", priority=1))
    low, high = waiting("c"), waiting("d", priority=1)
    queue.push(low)
    queue.push(high)
    assert queue.position(low) == pytest.approx(201, abs=2)
    assert queue.position(high) == pytest.approx(0, abs=2)


levels = st.floats(0, 100)


@given(st.lists(st.tuples(levels, levels, st.integers(1, 9)), max_size=8), st.floats(-10, 210))
def test_what_flows_off_before_a_level_is_each_backlogs_part(drawn, level):
    backlogs = [Backlog(start, start + length + 0.1, Work(count, 10.0 * count)) for start, length, count in drawn]
    expected = sum(work.requests * min(1.0, max(0.0, (level - start) / (end - start))) for start, end, work in backlogs)
    before = Fluid(backlogs).before(level)
    assert before.requests == pytest.approx(expected, abs=1e-6)
    assert before.virtual_tokens == pytest.approx(10 * expected, abs=1e-5)


# -- the lengths of answers
def learned(**answers: list[int]) -> OutputLengths:
    lengths = OutputLengths(100.0, tenants=3)
    for tenant, outputs in answers.items():
        for output in outputs:
            lengths.learn(tenant, output)
    return lengths


@pytest.mark.parametrize(
    ("lengths", "max_tokens", "expected"),
    [
        (learned(), 0, 100.0),
        (learned(), 30, 30.0),
        (learned(b=[10] * 50), 0, 10.0),
        (learned(b=[0]), 0, 1.0),
        (learned(a=[500] * 200), 0, 500.0),
        (learned(a=[500] * 200), 64, 64.0),
        (learned(a=[10] * 200 + [500] * 600), 0, 500.0),
    ],
)
def test_an_answer_is_expected_to_be_as_long_as_those_of_late_and_within_its_bound(lengths, max_tokens, expected):
    assert lengths.expect("a", max_tokens) == pytest.approx(expected, rel=0.01)


def test_a_tenant_of_few_answers_is_taken_for_an_average_one():
    lengths = learned(b=[100] * 500, a=[900])
    assert 100 < lengths.expect("a", 0) < 250
    for _ in range(100):
        lengths.learn("a", 900)
    assert lengths.expect("a", 0) > 800


def test_the_tenants_with_the_latest_answers_are_remembered():
    assert set(learned(a=[1], b=[2], c=[3], d=[4]).tenant_means(10)) == {"b", "c", "d"}
    assert set(learned(a=[1], b=[2], c=[3]).tenant_means(1)) == {"c"}
