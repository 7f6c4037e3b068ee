"""What the fair order is made of: sessions, bands and their ageing, locality, the return from idle."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.fair.settings import FairSettings
from matrixinfer.handlers.dispatch.request import Request
from support.fair_queue import take, take_all, waiting, work_of

PLAIN = FairSettings(quantum_tokens=0.0, expected_output_tokens=1.0)


def filled(*requests: Request, settings: FairSettings = PLAIN) -> FairQueue:
    queue = FairQueue(settings)
    for request in requests:
        queue.push(request)
    return queue


# -- sessions
@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["", "s", "t"]), st.integers(0, 3), st.integers(1, 900)),
        max_size=40,
    )
)
def test_within_a_session_nobody_overtakes(drawn):
    queue = FairQueue(FairSettings(window=8))
    for tenant, session, priority, prompt_tokens in drawn:
        queue.push(waiting(tenant, session=session, priority=priority, prompt_tokens=prompt_tokens))
    served = [take(queue, 0.0, lambda request: request.order * 31 % request.prompt_tokens) for _ in drawn]
    for tenant, session, _, _ in drawn:
        orders = [each.order for each in served if (each.tenant, each.session) == (tenant, session) and session]
        assert orders == sorted(orders)


def test_one_that_is_passed_over_holds_back_its_session_and_nobody_else():
    first, second, other = waiting(session="s"), waiting(session="s"), waiting()
    queue = filled(first, second, other)
    queue.pass_over(first)
    assert queue.head(0.0) is other
    assert len(queue) == 3
    queue.recall()
    assert queue.head(0.0) is first


def test_the_session_goes_on_when_one_that_was_passed_over_leaves():
    first, second = waiting(session="s"), waiting(session="s")
    queue = filled(first, second)
    queue.pass_over(first)
    queue.remove(first)
    assert queue.head(0.0) is second
    queue.recall()
    assert take_all(queue) == [second]


def test_an_older_one_of_the_session_that_comes_back_goes_first():
    older, younger = waiting(session="s"), waiting(session="s")
    queue = filled(younger)
    queue.push(older)
    assert take_all(queue) == [older, younger]


def test_an_older_one_of_the_session_comes_back_while_the_younger_is_passed_over():
    older, younger = waiting(session="s"), waiting(session="s")
    queue = filled(younger)
    queue.pass_over(younger)
    queue.push(older)
    queue.recall()
    assert take_all(queue) == [older, younger]


# -- bands
def test_a_higher_priority_goes_first_whatever_its_tenant_has_had():
    low, high = waiting("poor"), waiting("rich", priority=1)
    queue = filled(waiting("rich", prompt_tokens=10_000))
    take(queue)
    queue.push(low)
    queue.push(high)
    assert queue.head(0.0) is high


@pytest.mark.parametrize(("waited_s", "first"), [(0.0, "new"), (19.9, "new"), (20.0, "old"), (500.0, "old")])
def test_a_waiting_request_rises_by_one_priority_for_each_ageing_time(waited_s, first):
    old = waiting("old", priority=0)
    queue = filled(old, waiting("new", priority=2, since=waited_s))
    head = queue.head(waited_s)
    assert head.tenant == first


def test_risen_requests_wait_their_turn_by_what_their_tenants_have_had():
    queue = filled(*(waiting("greedy", prompt_tokens=1000) for _ in range(5)))
    take(queue, 100.0)
    queue.push(waiting("modest", priority=2, since=100.0))
    assert queue.head(100.0).tenant == "greedy"
    take(queue, 100.0)
    assert queue.head(100.0).tenant == "modest"


def test_among_equal_priorities_age_changes_nothing():
    """A heavy tenant's old backlog does not get ahead of a light tenant's new request."""
    queue = filled(*(waiting("heavy", since=0.0) for _ in range(100)), settings=FairSettings(quantum_tokens=0.0))
    for _ in range(3):
        take(queue, 1000.0)
    queue.push(waiting("light", since=1000.0))
    assert [take(queue, 1000.0).tenant for _ in range(2)] == ["heavy", "light"]


def test_priorities_beyond_the_range_count_as_its_ends():
    settings = FairSettings(lowest_priority=-1, highest_priority=1, quantum_tokens=0.0)
    first, second = waiting("a", priority=1), waiting("b", priority=100)
    low, lower = waiting("c", priority=-1), waiting("d", priority=-100)
    assert take_all(filled(low, lower, first, second, settings=settings)) == [first, second, low, lower]


# -- locality
def test_within_the_quantum_the_longest_cached_prefix_goes_first():
    queue = filled(
        waiting("a", prompt_tokens=500),
        waiting("b", prompt_tokens=500),
        waiting("c", prompt_tokens=500),
        settings=FairSettings(),
    )
    cached = {"a": 100, "b": 400, "c": 300}
    assert [take(queue, 0.0, lambda request: cached[request.tenant]).tenant for _ in range(3)] == ["b", "c", "a"]


def test_beyond_the_quantum_no_cached_prefix_helps():
    queue = filled(
        *(waiting("hot", prompt_tokens=1000) for _ in range(9)),
        *(waiting("cold", prompt_tokens=1000) for _ in range(9)),
        settings=FairSettings(quantum_tokens=3500.0, expected_output_tokens=1.0),
    )
    served = [take(queue, 0.0, lambda request: 1000 * (request.tenant == "hot")).tenant for _ in range(6)]
    assert served == ["hot"] * 4 + ["cold", "hot"]


def test_a_quantum_of_zero_asks_for_no_prefix():
    queue = filled(waiting("a"), waiting("b"))

    def never(request: Request) -> int:
        raise AssertionError("asked")

    assert queue.head(0.0, never).tenant == "a"


def test_after_so_many_choices_of_locality_the_fair_order_has_one():
    settings = FairSettings(most_passes=3, quantum_tokens=1e9)
    queue = filled(waiting("cold"), *(waiting("hot") for _ in range(9)), settings=settings)
    assert [take(queue, 0.0, lambda request: request.tenant == "hot").tenant for _ in range(4)][3] == "cold"


@pytest.mark.parametrize("tenants", [1, 3, 40])
def test_no_more_requests_are_asked_about_than_the_window_holds(tenants):
    queue = FairQueue(FairSettings(window=16))
    for at in range(200):
        queue.push(waiting(f"t{at % tenants}"))
    asked = Counter[int]()

    def affinity(request: Request) -> int:
        asked[request.order] += 1
        return 0

    queue.head(0.0, affinity)
    assert 15 <= asked.total() == len(asked) <= 16


# -- the return from idle
def test_a_tenant_that_was_away_saved_nothing_up():
    queue = filled(*(waiting("busy") for _ in range(60)), waiting("gone"))
    for _ in range(20):
        take(queue)
    for _ in range(20):
        queue.push(waiting("gone"))
    served = [take(queue).tenant for _ in range(20)]
    assert abs(served.count("gone") - served.count("busy")) <= 1


def test_a_tenant_that_was_away_still_owes_what_it_had():
    queue = filled(waiting("a", prompt_tokens=5000), waiting("b", prompt_tokens=100), waiting("b", prompt_tokens=100))
    assert [take(queue).tenant for _ in range(2)] == ["a", "b"]
    queue.push(waiting("a"))
    queue.push(waiting("b"))
    assert [take(queue).tenant for _ in range(3)] == ["b", "b", "a"]


def test_into_an_empty_queue_one_comes_in_at_the_counter_of_the_last_that_left():
    queue = filled(waiting("a", prompt_tokens=5000))
    take(queue)
    queue.push(waiting("b"))
    queue.push(waiting("a"))
    assert [take(queue).tenant for _ in range(2)] == ["b", "a"]
    assert queue.snapshot().level >= 5000


def test_what_is_refunded_and_queued_again_has_its_old_place():
    first, second = waiting("a"), waiting("b")
    queue = filled(first, second)
    take(queue)
    assert queue.refund(work_of(first))
    queue.push(first)
    assert queue.head(0.0) is first
    assert not queue.refund(work_of(first))


@pytest.mark.parametrize("gives_back", ["refund", "correct"])
def test_what_is_given_back_counts_at_once(gives_back):
    queue = filled(waiting("a", prompt_tokens=900), *(waiting(tenant, prompt_tokens=300) for tenant in "abbbccc"))
    expensive = take(queue)
    assert [take(queue).tenant for _ in range(4)] == ["b", "c", "b", "c"]
    assert queue.head(0.0).tenant == "b"
    if gives_back == "refund":
        queue.refund(work_of(expensive))
    else:
        queue.correct(work_of(expensive), 0, 1)
    assert queue.head(0.0).tenant == "a"


def test_a_second_charge_takes_the_place_of_the_first():
    request = waiting("a", prompt_tokens=1000)
    queue = filled(request, waiting("a"), waiting("b"))
    take(queue)
    queue.charge(request, work_of(request), "p", cached_tokens=1000)
    queue.start(work_of(request))
    assert queue.snapshot().waiting["a"] == pytest.approx(2.0)


# -- settings
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ageing_s", 0.0),
        ("window", 0),
        ("output_token_cost", -1.0),
        ("quantum_tokens", -1.0),
        ("weights", {"a": 0.0}),
        ("lowest_priority", 1),
        ("highest_priority", -1),
    ],
)
def test_a_setting_without_a_meaning_is_refused_by_its_name(field, value):
    with pytest.raises(ValueError, match=field):
        FairSettings(**{field: value})


def test_weights_that_change_count_from_then_on():
    queue = FairQueue(FairSettings(quantum_tokens=0))
    for _ in range(12):
        for tenant in ("a", "b"):
            queue.push(waiting(tenant, prompt_tokens=100))
    served = {"a": 0, "b": 0}

    def serve(count: int) -> None:
        for _ in range(count):
            head = queue.head(0.0)
            assert head is not None
            queue.remove(head)
            queue.charge(head, work_of(head), "p")
            served[head.tenant] += 1

    serve(6)
    assert served == {"a": 3, "b": 3}
    queue.reweigh({"b": 3.0})
    serve(8)
    assert served == {"a": 5, "b": 9}
    queue.reweigh({})
    serve(4)
    assert served == {"a": 7, "b": 11}
