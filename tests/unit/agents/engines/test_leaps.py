"""Leaping is stepping: the same tokens at the same times, and the same cache, in fewer calls."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.agents.engines.simulated.batching import BatchingModel, Request, Speed
from matrixinfer.agents.engines.simulated.leaps import Pace
from matrixinfer.agents.engines.simulated.prefix_cache import PrefixCache

BLOCK_TOKENS = 4
NO_TIE_S = 1.3e-5
"""What is added to the n-th time, n times: no two events fall together, whose order the caller would decide."""


@dataclass(frozen=True)
class Plan:
    """A request, and when it is aborted, None: never."""

    at: float
    prefix: int
    prompt_tokens: int
    output_tokens: int
    abort_after_s: float | None


plans = st.lists(
    st.builds(
        Plan,
        at=st.floats(0, 8),
        prefix=st.integers(0, 2),
        prompt_tokens=st.integers(1, 40),
        output_tokens=st.integers(1, 60),
        abort_after_s=st.none() | st.floats(0, 8),
    ),
    min_size=1,
    max_size=20,
)
speeds = st.builds(
    Speed,
    prefill_tokens_per_s=st.sampled_from([50.0, 400.0]),
    decode_step_s=st.sampled_from([0.02, 0.05]),
    decode_step_per_request_s=st.sampled_from([0.0, 0.01]),
    decode_step_per_context_token_s=st.sampled_from([0.0, 0.0001, 0.001]),
)


class Drive:
    """A model through a plan; keeps each request's first and last token, and what can be seen after each event."""

    def __init__(self, speed: Speed, plan: list[Plan], *, leaps: bool) -> None:
        self.cache = PrefixCache(160, BLOCK_TOKENS)
        self.model = BatchingModel(3, 16, speed, self.cache, leaps=leaps)
        self.times: dict[tuple[str, str], float] = {}
        self.seen: list[object] = []
        self.calls = 0
        self.requests = [_request(number, each) for number, each in enumerate(plan)]
        self._events = sorted(_events(plan))

    def run(self) -> None:
        for at, number, what in self._events:
            self._advance_until(at)
            request = self.requests[number]
            if what == "submit":
                self.model.submit(request, at)
            else:
                self.model.abort(request, at)
            self.model.catch_up(at)
            self.seen.append(self._state())
        self._advance_until(float("inf"))
        self.seen.append(self._state())

    def _advance_until(self, at: float) -> None:
        while (next_at := self.model.next_at()) is not None and next_at <= at:
            self.calls += 1
            for request in self.model.advance(next_at):
                if request.produced_tokens == 1:
                    self.times[request.key, "first"] = next_at
                if request.is_done:
                    self.times[request.key, "last"] = next_at

    def _state(self) -> object:
        model = self.model
        return (
            model.running_count,
            model.waiting_count,
            model.running_tokens,
            model.waiting_tokens,
            list(self.cache._idle),
            dict(self.cache._held),
            self.cache.busy_tokens,
            [(request.produced_tokens, request.cached_tokens) for request in self.requests],
        )


def _request(number: int, plan: Plan) -> Request:
    blocks = tuple(b"%d.%d" % (plan.prefix, index) for index in range(plan.prompt_tokens // BLOCK_TOKENS))
    return Request(f"r{number}", plan.prompt_tokens, plan.output_tokens, blocks)


def _events(plan: list[Plan]) -> list[tuple[float, int, str]]:
    events = []
    for number, each in enumerate(plan):
        at = each.at + (2 * number + 1) * NO_TIE_S
        events.append((at, number, "submit"))
        if each.abort_after_s is not None:
            events.append((at + each.abort_after_s + NO_TIE_S, number, "abort"))
    return events


@settings(deadline=None, max_examples=300)
@given(speed=speeds, plan=plans)
def test_leaping_gives_the_same_times_tokens_and_cache_as_stepping(speed: Speed, plan: list[Plan]) -> None:
    stepping, leaping = Drive(speed, plan, leaps=False), Drive(speed, plan, leaps=True)
    stepping.run()
    leaping.run()
    assert leaping.times == pytest.approx(stepping.times, abs=1e-9, rel=0)
    assert leaping.seen == stepping.seen
    assert leaping.calls <= stepping.calls


def test_a_long_answer_alone_is_one_leap_after_its_prefill() -> None:
    model = BatchingModel(4, 16, Speed(decode_step_s=0.5), PrefixCache(2000, BLOCK_TOKENS), leaps=True)
    request = Request("r", 8, 1000)
    model.submit(request, 0.0)
    assert model.advance(0.0) == [request]
    assert model.next_at() == 999 * 0.5
    assert model.advance(999 * 0.5) == [request]
    assert (request.produced_tokens, model.next_at()) == (1000, None)


@pytest.mark.parametrize("pace", [Pace(0.1, 0.0), Pace(0.1, 0.003), Pace(1e-9, 1.0), Pace(0.0, 0.0)], ids=str)
def test_steps_are_counted_at_their_ends(pace: Pace) -> None:
    most = 500
    for steps in (1, 2, 7, 100, 499):
        end_s = sum(pace.first_s + index * pace.growth_s for index in range(steps))
        assert pace.duration_s(steps) == pytest.approx(end_s)
        assert pace.steps_within(pace.duration_s(steps), most) in (steps, most)
    if pace.first_s:
        assert pace.steps_within(pace.duration_s(7) * (1 - 1e-9), most) == 6
    assert pace.after(3).duration_s(4) == pytest.approx(pace.duration_s(7) - pace.duration_s(3))
