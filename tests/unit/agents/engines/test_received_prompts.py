"""The batching model with prompts that were computed elsewhere, or that are for another engine."""

from __future__ import annotations

import pytest

from matrixinfer.agents.engines.simulated.batching import BatchingModel, Request, Speed
from matrixinfer.agents.engines.simulated.prefix_cache import PrefixCache

SPEED = Speed(prefill_tokens_per_s=10.0, decode_step_s=1.0)
BLOCKS = tuple(b"block-%d" % n for n in range(10))


def model_of(capacity_tokens: int = 1000, *, leaps: bool = False) -> BatchingModel:
    return BatchingModel(4, 1000, SPEED, PrefixCache(capacity_tokens, 10), leaps=leaps)


def run(model: BatchingModel) -> list[tuple[str, float]]:
    """Every token with its time."""
    tokens = []
    while (at := model.next_at()) is not None:
        tokens += [(request.key, at) for request in model.advance(at)]
    return tokens


def test_only_the_last_token_of_a_received_prompt_is_computed() -> None:
    model = model_of()
    request = Request("a", 100, 3, BLOCKS, received_tokens=100)
    model.submit(request, 0.0)
    assert model.cache.busy_tokens == 103, "and it needs its room as ever"
    assert [at for _, at in run(model)] == pytest.approx([0.1, 1.1, 2.1])
    assert (request.cached_tokens, model.cache.busy_tokens) == (0, 0)
    assert model.cache.hit(BLOCKS) == 10, "the next one finds it"


@pytest.mark.parametrize(("received", "first_at"), [(0, 10.0), (60, 4.0), (500, 0.1)])
def test_what_was_not_received_is_computed(received: int, first_at: float) -> None:
    model = model_of()
    model.submit(Request("a", 100, 1, received_tokens=received), 0.0)
    assert [at for _, at in run(model)] == pytest.approx([first_at])


def test_the_larger_of_cached_and_received_counts() -> None:
    model = model_of()
    model.submit(Request("a", 100, 1, BLOCKS), 0.0)
    run(model)
    model.submit(Request("b", 100, 1, BLOCKS, received_tokens=20), 20.0)
    assert [at for _, at in run(model)] == pytest.approx([21.0]), "9 of 10 blocks are cached"


@pytest.mark.parametrize("leaps", [True, False])
def test_one_that_lingers_gives_its_slot_and_keeps_its_room_until_it_is_let_go(leaps: bool) -> None:
    model = model_of(250, leaps=leaps)
    lingering = Request("a", 100, 1, BLOCKS, lingers=True)
    model.submit(lingering, 0.0)
    run(model)
    assert (model.running_count, model.running_tokens, model.cache.busy_tokens) == (0, 0, 101)
    model.submit(Request("b", 150, 1), 20.0)
    assert (model.next_at(), model.waiting_count) == (None, 1), "there is no room"
    model.let_go(lingering, 30.0)
    assert [at for _, at in run(model)] == pytest.approx([45.0])
    assert model.cache.busy_tokens == 0


def test_room_that_comes_free_ends_a_leap() -> None:
    model = model_of(300, leaps=True)
    lingering = Request("a", 100, 1, lingers=True)
    model.submit(lingering, 0.0)
    run(model)
    model.submit(Request("long", 10, 90), 20.0)
    model.advance(21.0)
    model.submit(Request("b", 150, 1), 22.0)
    model.let_go(lingering, 24.5)
    assert dict(run(model))["b"] < 50.0
