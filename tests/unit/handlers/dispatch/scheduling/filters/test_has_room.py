"""The filter `has_room`."""

import pytest

from matrixinfer.handlers.dispatch.scheduling.filters.has_room import HasRoom, HasRoomParameters
from support.scheduling import NOW, a_pod, a_request


def kept(max_prefill_s: float | None = None, **pod: object) -> bool:
    return bool(HasRoom(HasRoomParameters(max_prefill_s)).keep(a_request(1000), [a_pod("p", **pod)], NOW))  # type: ignore[arg-type]


@pytest.mark.parametrize(("used", "has_room"), [(0, True), (7, True), (8, False), (9, False)])
def test_a_pod_without_a_free_slot_is_dropped(used: int, has_room: bool):
    assert kept(used=used) is has_room


@pytest.mark.parametrize(("kv_tokens", "has_room"), [(0, True), (2744, True), (2745, False)])
def test_a_pod_whose_cache_cannot_hold_prompt_and_output_is_dropped(kv_tokens: int, has_room: bool):
    assert kept(kv_tokens=kv_tokens, kv_capacity_tokens=4000) is has_room


def test_a_pod_of_unknown_capacity_has_room_while_it_has_slots():
    assert kept(kv_tokens=10**9)


@pytest.mark.parametrize(("prefill_tokens", "has_room"), [(0, True), (9_000, True), (60_000, False)])
def test_with_a_bound_on_prefill_requests_wait_where_they_can_still_go_anywhere(prefill_tokens: int, has_room: bool):
    assert kept(2.0, prefill_tokens=prefill_tokens) is has_room
    assert kept(None, prefill_tokens=prefill_tokens)


def test_an_idle_pod_is_never_above_the_bound_on_prefill():
    assert kept(1e-9)
