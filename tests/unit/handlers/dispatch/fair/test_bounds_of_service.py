"""The laws of fair service: how far apart two waiting tenants can get, and how long one can be kept waiting."""

import math
from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.handlers.dispatch.fair.queue import FairQueue
from matrixinfer.handlers.dispatch.fair.settings import FairSettings
from matrixinfer.handlers.dispatch.request import Request
from support.fair_queue import take, waiting, work_of

LONGEST_PROMPT = 500
LONGEST_OUTPUT = 100
WEIGHTS = {"a": 1.0, "b": 3.0, "c": 0.5}
EXACT = FairSettings(weights=WEIGHTS, quantum_tokens=0.0, expected_output_tokens=LONGEST_OUTPUT)
"""Outputs are as long as `max_tokens` says: never corrected, they are exact."""

lengths = st.lists(st.tuples(st.integers(1, LONGEST_PROMPT), st.integers(1, LONGEST_OUTPUT)), min_size=60, max_size=60)
tenants = st.sampled_from("abc")


def backlog(tenant: str, sizes: list[tuple[int, int]]) -> list[Request]:
    return [waiting(tenant, prompt_tokens=prompt, max_tokens=output) for prompt, output in sizes]


def largest_charge(rules: FairSettings, tenant: str) -> float:
    cost = rules.prompt_token_cost * LONGEST_PROMPT + rules.output_token_cost * LONGEST_OUTPUT
    return cost / rules.weights.get(tenant, 1.0)


def cost(request: Request) -> float:
    return request.prompt_tokens + 2.0 * request.max_tokens


@settings(deadline=None)
@given(a=lengths, b=lengths, others=st.lists(st.tuples(tenants, st.integers(1, LONGEST_PROMPT)), max_size=40))
def test_with_exact_costs_two_waiting_tenants_get_the_same_but_for_two_of_the_largest_charges(a, b, others):
    """The bound of the VTC paper, for whole requests and weights, in every interval; a third comes and goes."""
    queue = FairQueue(EXACT)
    for request in [*backlog("a", a), *backlog("b", b)]:
        queue.push(request)
    bound = 2 * max(largest_charge(EXACT, tenant) for tenant in "abc")
    served = {"a": 0.0, "b": 0.0, "c": 0.0}
    differences = []
    waits = {"a": len(a), "b": len(b), "c": 0}
    for step in count():
        if not (waits["a"] and waits["b"]):
            break
        if step < len(others):
            queue.push(waiting(others[step][0], prompt_tokens=others[step][1], max_tokens=1))
            waits[others[step][0]] += 1
        request = take(queue)
        waits[request.tenant] -= 1
        served[request.tenant] += cost(request) / WEIGHTS[request.tenant]
        differences.append(served["a"] - served["b"])
    assert max(differences) - min(differences) <= bound + 1e-6


@settings(deadline=None)
@given(
    a=lengths,
    b=lengths,
    seed=st.integers(0, 1000),
    in_flight=st.integers(1, 6),
    quantum=st.sampled_from([0.0, 300.0, 2000.0]),
)
def test_predictions_and_locality_widen_the_bound_by_the_quantum_and_the_error(a, b, seed, in_flight, quantum):
    rules = FairSettings(quantum_tokens=quantum, most_passes=1000, expected_output_tokens=20.0)
    queue, rng = FairQueue(rules), Random(seed)
    outputs = {}
    for tenant, sizes in (("a", a), ("b", b)):
        for prompt, output in sizes:
            request = waiting(tenant, prompt_tokens=prompt)
            outputs[request.key] = output
            queue.push(request)
    error = rules.output_token_cost * LONGEST_OUTPUT  # predictions, too, are between 1 and the longest
    bound = 2 * (quantum + largest_charge(rules, "a") + 2 * in_flight * error)
    served = {"a": 0.0, "b": 0.0}
    waits = {"a": len(a), "b": len(b)}
    at_pods: dict[str, list[Request]] = {"a": [], "b": []}
    differences = [0.0]
    while waits["a"] and waits["b"]:
        request = take(queue, 0.0, lambda request: request.order % (request.prompt_tokens + 1))
        waits[request.tenant] -= 1
        served[request.tenant] += request.prompt_tokens + 2 * outputs[request.key]
        differences.append(served["a"] - served["b"])
        running = at_pods[request.tenant]
        running.append(request)
        while len(running) >= in_flight or (running and rng.random() < 0.3):
            done = running.pop(rng.randrange(len(running)))
            queue.correct(work_of(done), done.prompt_tokens, outputs[done.key])
    assert max(differences) - min(differences) <= bound + 1e-6


@pytest.mark.parametrize("weight", [1.0, 2.0, 5.0])
def test_service_is_shared_by_weight(weight):
    queue = FairQueue(FairSettings(weights={"heavy": weight}, quantum_tokens=0.0))
    for _ in range(600):
        queue.push(waiting("heavy", max_tokens=10))
        queue.push(waiting("light", max_tokens=10))
    served = [take(queue).tenant for _ in range(600)]
    assert served.count("heavy") / served.count("light") == pytest.approx(weight, rel=0.05)


arrivals = st.lists(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 50), st.sampled_from([0, 0, 1, 2])), max_size=3),
    min_size=1,
    max_size=60,
)


@settings(deadline=None, max_examples=50)
@given(
    script=arrivals,
    waited_for=st.integers(1, 50),
    ahead=st.integers(0, 3),
    step_s=st.sampled_from([0.0, 0.5, 3.0]),
    sybils=st.booleans(),
)
def test_every_request_is_served_within_a_number_of_choices_that_is_known_whatever_comes(
    script, waited_for, ahead, step_s, sybils
):
    """The adversary repeats its script without end, with old or ever new tenants of all priorities, whose prompts are
    always cached; the count begins when the request's flow must be in the top band."""
    rules = FairSettings(
        quantum_tokens=80.0,
        most_passes=3,
        most_newcomers=5,
        lowest_priority=0,
        highest_priority=2,
        ageing_s=4.0,
        expected_output_tokens=1.0,
    )
    queue = FairQueue(rules)
    victims = [waiting("victim", prompt_tokens=waited_for) for _ in range(ahead + 1)]
    for victim in victims:
        queue.push(victim)
    numbers, now, left = count(), 0.0, math.inf
    for step in range(20_000):
        for name, prompt_tokens, priority in script[step % len(script)]:
            tenant = f"new{next(numbers)}" if sybils else f"t{name}"
            queue.push(waiting(tenant, prompt_tokens=prompt_tokens, priority=priority, since=now))
        if step_s == 0.0 and step == 0:
            now = 8.0  # old enough at once
        now += step_s
        if left == math.inf and now >= rules.ageing_s * 2:
            left = choices_at_most(queue, rules, turns=ahead + 1)
        request = take(queue, now, lambda request: request.prompt_tokens if request.tenant != "victim" else 0)
        if request is victims[-1]:
            return
        left -= 1
        assert left > 0
    raise AssertionError("it was never served")


def choices_at_most(queue: FairQueue, rules: FairSettings, turns: int) -> float:
    """By the docstring of FairQueue, for so many turns of one tenant: counters are never further apart than the quantum
    and the largest charge; each passing tenant's counter grows by 3 at least (one prompt and one output token)."""
    tenants_at_most = 31 + 1 + rules.most_newcomers + len(queue)
    apart = rules.quantum_tokens + 52.0
    fair_turns = tenants_at_most * (apart / 3.0 + 1)
    return turns * fair_turns * (rules.most_passes + 1)
