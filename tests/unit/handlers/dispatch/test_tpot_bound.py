"""A bound on the time per output token: learned from answers that ended, kept by letting fewer in."""

from __future__ import annotations

import math

import pytest

from matrixinfer.bus.contracts.control import Dumped
from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.bus.contracts.load import Finished, LoadEvent, Snapshot, WorkKey
from matrixinfer.handlers.dispatch.decode_model import DecodeGuess, DecodeModel
from matrixinfer.handlers.dispatch.fleet import Fleet
from support.scripted import NS, listed

SLOTS = 64
FIXED_S, REQUEST_S = 0.01, 0.001


def tpot_s(requests: int) -> float:
    return FIXED_S + REQUEST_S * requests


class Pods:
    """One pod that always has so many requests, with answers of 21 tokens as far apart as that makes them."""

    def __init__(self, max_tpot_s: float) -> None:
        self.fleet, self.now, self.sequence, self.count = Fleet(3.0, 7.0), 100.0, 0, 0
        self.fleet.list_pods(listed("p"))
        self.fleet.bound_tpot(max_tpot_s)
        self.fleet.inform("p", Dumped("b", 0, False, Snapshot(SLOTS), []), self.now)
        self.running: list[WorkKey] = []

    @property
    def pod(self):
        return self.fleet.pods["p"]

    def say(self, started: list[WorkKey], finished: list[Finished]) -> None:
        self.sequence += 1
        self.fleet.hear(LoadEvent(NS, "p", "b", self.sequence, False, started, finished), self.now)

    def serve(self, requests: int, answers: int = 200) -> None:
        for _ in range(answers):
            while len(self.running) < requests:
                self.count += 1
                self.running.append(WorkKey(f"r{self.count}", 1, 1))
                self.say(self.running[-1:], [])
            self.now += 0.01
            duration_s = 0.1 + 20 * tpot_s(requests)
            end = Finished(self.running.pop(0), "completed", True, Usage(10, 0, 21), 0.1, duration_s)
            self.say([], [end])


def test_it_learns_how_many_keep_the_bound():
    pods = Pods(0.04)
    pods.serve(10)
    pods.serve(50)
    assert pods.pod.most_requests == pytest.approx(30, abs=5)
    assert not pods.pod.is_open()
    for work in list(pods.running):
        pods.say([], [Finished(work, "completed", True, Usage(10, 0, 1))])
    assert pods.pod.free == pods.pod.most_requests


def test_without_a_bound_every_slot_is_used_and_nothing_is_learned():
    pods = Pods(0.0)
    pods.serve(SLOTS - 1)
    assert pods.pod.most_requests == math.inf
    assert pods.pod.is_open()


def test_a_bound_that_cannot_be_kept_lets_one_in():
    pods = Pods(0.001)
    pods.serve(1)
    assert pods.pod.most_requests == 1.0


def test_a_bound_that_is_lifted_opens_the_pods():
    pods = Pods(0.02)
    pods.serve(30)
    assert not pods.pod.is_open()
    pods.fleet.bound_tpot(0.0)
    assert pods.pod.is_open()


def test_short_and_broken_answers_teach_nothing():
    model = DecodeModel(DecodeGuess())
    for number, end in enumerate(
        [
            Finished(WorkKey("a", 1, 1), "completed", True, Usage(1, 0, 3), 0.1, 9.0),
            Finished(WorkKey("b", 1, 1), "cancelled", True, Usage(1, 0, 50), 0.1, 9.0),
        ]
    ):
        model.start(end.key, number)
        assert model.end(end, 1, 100.0) is None
    assert model.end(Finished(WorkKey("unknown", 1, 1), "completed", True, Usage(1, 0, 50), 0.1, 9.0), 1, 100.0) is None
