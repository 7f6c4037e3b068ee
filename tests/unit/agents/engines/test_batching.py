"""The laws of the simulated engine's core, and its cost model by example."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.agents.engines.simulated.batching import BatchingModel, Request, Speed
from matrixinfer.agents.engines.simulated.prefix_cache import PrefixCache
from matrixinfer.agents.engines.simulated.prompts import BYTES_PER_TOKEN, chained_blocks

BLOCK_TOKENS = 4
CAPACITY_TOKENS = 96
SLOTS = 3
MAX_BATCH_TOKENS = 16


@dataclass(frozen=True)
class Arrival:
    """`abort_after` is the number of steps after which it is aborted, None: never."""

    at: float
    text: bytes
    output_tokens: int
    abort_after: int | None


# Few letters, in units of a token, so that prompts share prefixes often.
texts = st.lists(st.sampled_from([b"aaaa", b"bbbb"]), min_size=1, max_size=24).map(b"".join)
arrivals = st.lists(
    st.builds(
        Arrival,
        at=st.integers(0, 20).map(lambda tenths: tenths / 10),
        text=texts,
        output_tokens=st.integers(1, 30),
        abort_after=st.none() | st.integers(0, 40),
    ),
    min_size=1,
    max_size=25,
).map(lambda found: sorted(found, key=lambda arrival: arrival.at))
speeds = st.builds(
    Speed,
    prefill_tokens_per_s=st.sampled_from([0.0, 50.0]),
    decode_step_s=st.sampled_from([0.0, 0.05]),
    decode_step_per_request_s=st.sampled_from([0.0, 0.01]),
    decode_step_per_context_token_s=st.sampled_from([0.0, 0.001]),
)


def new_model(speed: Speed, capacity_tokens: int = CAPACITY_TOKENS) -> BatchingModel:
    return BatchingModel(SLOTS, MAX_BATCH_TOKENS, speed, PrefixCache(capacity_tokens, BLOCK_TOKENS))


def request_of(number: int, text: bytes, output_tokens: int) -> Request:
    return Request(f"r{number}", len(text) // BYTES_PER_TOKEN, output_tokens, chained_blocks(text, BLOCK_TOKENS))


class Simulation:
    """Drives a model through arrivals and aborts, and checks the bounds after every call."""

    def __init__(self, speed: Speed, plan: list[Arrival]) -> None:
        self.model = new_model(speed)
        self.requests = [request_of(number, each.text, each.output_tokens) for number, each in enumerate(plan)]
        self.trace: list[tuple[float, str, int]] = []
        self.aborted: set[str] = set()
        self._submitted: set[str] = set()
        self._plan = plan
        self._steps = 0
        self._now = 0.0

    def run(self) -> None:
        pending = [
            (arrival, request)
            for arrival, request in zip(self._plan, self.requests, strict=True)
            if self.model.can_ever_fit(request)
        ]
        for arrival, request in pending:
            self._advance_until(arrival.at)
            self.model.submit(request, arrival.at)
            self._submitted.add(request.key)
            self._check()
        self._advance_until(float("inf"))

    def _advance_until(self, time: float) -> None:
        while (next_at := self.model.next_at()) is not None and next_at <= time:
            assert self._steps < 10_000, "the model does not come to an end"
            self._steps += 1
            self._now = next_at
            for request in self.model.advance(next_at):
                assert request.key not in self.aborted
                self.trace.append((next_at, request.key, request.produced_tokens))
            self._check()
            self._abort_due()

    def _abort_due(self) -> None:
        for arrival, request in zip(self._plan, self.requests, strict=True):
            can_abort = request.key in self._submitted - self.aborted and not request.is_done
            if can_abort and arrival.abort_after is not None and arrival.abort_after <= self._steps:
                self.model.abort(request, self._now)
                self.aborted.add(request.key)
                self._check()

    def _check(self) -> None:
        assert self.model.running_count <= SLOTS
        assert self.model.cache.used_tokens <= CAPACITY_TOKENS
        assert 0 <= self.model.cache.busy_tokens <= self.model.cache.used_tokens
        assert self.model.running_tokens >= 0
        assert self.model.waiting_tokens >= 0


@settings(deadline=None)
@given(speed=speeds, plan=arrivals)
def test_every_request_ends_within_slots_and_capacity(speed: Speed, plan: list[Arrival]) -> None:
    simulation = Simulation(speed, plan)
    simulation.run()
    model = simulation.model
    for request in simulation.requests:
        if request.key in simulation.aborted:
            assert not request.is_done
        else:
            assert request.is_done == model.can_ever_fit(request)
    assert (model.running_count, model.running_tokens, model.waiting_tokens) == (0, 0, 0)
    assert model.cache.busy_tokens == 0


@settings(deadline=None)
@given(speed=speeds, plan=arrivals)
def test_the_same_arrivals_give_the_same_tokens_at_the_same_times(speed: Speed, plan: list[Arrival]) -> None:
    first, second = Simulation(speed, plan), Simulation(speed, plan)
    first.run()
    second.run()
    assert first.trace == second.trace
    assert [request.cached_tokens for request in first.requests] == [
        request.cached_tokens for request in second.requests
    ]


@settings(deadline=None)
@given(speed=speeds, plan=arrivals)
def test_tokens_come_one_by_one_and_time_never_goes_back(speed: Speed, plan: list[Arrival]) -> None:
    simulation = Simulation(speed, plan)
    simulation.run()
    times = [time for time, _, _ in simulation.trace]
    assert times == sorted(times)
    for request in simulation.requests:
        mine = [count for _, key, count in simulation.trace if key == request.key]
        assert mine == list(range(1, len(mine) + 1))


@settings(deadline=None)
@given(prompts=st.lists(texts, min_size=1, max_size=12))
def test_with_room_for_all_the_cached_tokens_are_the_longest_common_prefix_in_blocks(prompts: list[bytes]) -> None:
    model = new_model(Speed(), capacity_tokens=10_000)
    block_bytes = BLOCK_TOKENS * BYTES_PER_TOKEN
    for number, text in enumerate(prompts):
        request = request_of(number, text, 1)
        model.submit(request, 0.0)
        while model.next_at() is not None:
            model.advance(0.0)
        limit = (request.prompt_tokens - 1) // BLOCK_TOKENS
        naive = max(
            (
                count
                for earlier in prompts[:number]
                for count in range(limit + 1)
                if len(earlier) >= count * block_bytes and earlier.startswith(text[: count * block_bytes])
            ),
            default=0,
        )
        assert request.cached_tokens == naive * BLOCK_TOKENS


@settings(deadline=None)
@given(left=texts, right=texts)
def test_two_prompts_share_as_many_block_hashes_as_whole_blocks_from_the_beginning(left: bytes, right: bytes) -> None:
    size = BLOCK_TOKENS * BYTES_PER_TOKEN
    common = 0
    while left[: (common + 1) * size] == right[: (common + 1) * size] and min(len(left), len(right)) >= (
        (common + 1) * size
    ):
        common += 1
    pairs = zip(chained_blocks(left, BLOCK_TOKENS), chained_blocks(right, BLOCK_TOKENS), strict=False)
    equal = [a == b for a, b in pairs]
    assert equal == [True] * common + [False] * (len(equal) - common)


def run_to_end(model: BatchingModel) -> list[tuple[float, list[str]]]:
    trace = []
    while (next_at := model.next_at()) is not None:
        trace.append((round(next_at, 6), [request.key for request in model.advance(next_at)]))
    return trace


def test_a_long_prompt_is_prefilled_in_chunks_while_others_decode() -> None:
    model = new_model(Speed(prefill_tokens_per_s=16, decode_step_s=0.5))
    model.submit(request_of(0, b"aaaa", 4), 0.0)
    model.submit(request_of(1, b"bbbb" * 40, 1), 0.0)
    # One prompt token takes 1/16 s. Steps of 16 tokens: r0 decodes one, so r1 gets 15, 15 and then 10.
    assert run_to_end(model) == [
        (0.0625, ["r0"]),
        (0.0625 + 0.5 + 15 / 16, ["r0"]),
        (0.0625 + 2 * (0.5 + 15 / 16), ["r0"]),
        (0.0625 + 3 * 0.5 + 40 / 16, ["r0", "r1"]),
    ]


def test_a_decode_step_grows_with_the_batch_and_its_context() -> None:
    speed = Speed(decode_step_s=1.0, decode_step_per_request_s=0.1, decode_step_per_context_token_s=0.01)
    assert speed.step_s(0, 0, 0) == 0
    assert speed.step_s(0, 2, 30) == pytest.approx(1.0 + 0.2 + 0.3)


def test_a_full_cache_makes_the_next_request_wait_and_not_fail() -> None:
    model = new_model(Speed(decode_step_s=1.0))
    model.submit(request_of(0, b"aaaa" * 50, 40), 0.0)
    model.submit(request_of(1, b"bbbb" * 50, 40), 0.0)
    order = [key for _, keys in run_to_end(model) for key in keys]
    assert order == ["r0"] * 40 + ["r1"] * 40


def test_an_aborted_request_leaves_at_once_and_its_slot_is_taken() -> None:
    model = new_model(Speed(decode_step_s=1.0))
    requests = [request_of(number, b"aaaa", 10) for number in range(SLOTS + 1)]
    for request in requests:
        model.submit(request, 0.0)
    model.advance(0.0)
    model.abort(requests[0], 0.5)
    assert model.running_count == SLOTS - 1
    assert [request.key for request in model.advance(1.0)] == ["r1", "r2"]
    assert [request.key for request in model.advance(2.0)] == ["r1", "r2", "r3"]
