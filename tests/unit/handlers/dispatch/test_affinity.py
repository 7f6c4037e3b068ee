"""How much of a prompt is cached where there is room: asked once, and again when it may have changed."""

from __future__ import annotations

from collections.abc import Mapping

from matrixinfer.bus.block_hashes import HASH_BYTES
from matrixinfer.handlers.dispatch.affinity import FRESH_S, Affinities
from matrixinfer.handlers.dispatch.request import Request
from support.fair_queue import waiting


class Opened(dict[str, int]):
    """Open pods that count how often they are asked about."""

    asked = 0

    def __contains__(self, pod: object) -> bool:
        self.asked += 1
        return super().__contains__(pod)


class Counted:
    def __init__(self, **tokens: float) -> None:
        self.tokens: Mapping[str, float] = tokens
        self.asked = 0

    def __call__(self, _: Request) -> Mapping[str, float]:
        self.asked += 1
        return self.tokens


def a_request(order: int = 1) -> Request:
    asked = waiting(order=order)
    asked.block_hashes = bytes(HASH_BYTES)
    return asked


def test_only_pods_with_room_count():
    affinities = Affinities(Counted(p1=512.0, p2=256.0))
    assert affinities.best(a_request(), {"p1", "p2"}, 1.0) == 512
    assert affinities.best(a_request(), {"p2", "p3"}, 1.0) == 256
    assert affinities.best(a_request(), {"p3"}, 1.0) == 0


def test_the_answer_is_remembered_for_a_moment():
    holders = Counted(p1=512.0)
    affinities, asked = Affinities(holders), a_request()
    for now in (1.0, 1.0 + FRESH_S / 2):
        assert affinities.best(asked, {"p1"}, now) == 512
    assert holders.asked == 1
    holders.tokens = {"p1": 768.0}
    assert affinities.best(asked, {"p1"}, 1.0 + 2 * FRESH_S) == 768


def test_one_that_was_placed_is_asked_anew_when_it_comes_back():
    holders = Counted(p1=512.0)
    affinities, asked = Affinities(holders), a_request()
    affinities.best(asked, {"p1"}, 1.0)
    affinities.forget(asked)
    affinities.best(asked, {"p1"}, 1.0)
    assert holders.asked == 2


def test_a_prompt_without_blocks_is_not_asked_for():
    holders = Counted(p1=512.0)
    assert Affinities(holders).best(waiting(order=1), {"p1"}, 1.0) == 0
    assert holders.asked == 0


def test_the_memory_is_bounded():
    affinities = Affinities(Counted(p1=512.0))
    for order in range(5000):
        affinities.best(a_request(order), {"p1"}, 1.0)
    assert len(affinities._known) <= 1024


def test_where_hundreds_hold_the_prompt_the_first_with_room_is_enough():
    names = [f"p{index}" for index in range(500)]
    affinities, pods = Affinities(Counted(**dict.fromkeys(names, 4096.0))), Opened(dict.fromkeys(names, 1))
    assert affinities.best(a_request(), pods, 1.0) == 4096
    assert pods.asked == 1
