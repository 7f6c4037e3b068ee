"""What was sent where: learned from placements, forgotten with the pod, its boot, and its room."""

from __future__ import annotations

from matrixinfer.bus.block_hashes import BLOCK_TOKENS, block_hashes
from matrixinfer.bus.contracts.load import Snapshot
from matrixinfer.handlers.dispatch.cache_index.approximate import ApproximateIndex
from matrixinfer.handlers.dispatch.cache_index.sent_prompts import SentPrompts
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from support.fair_queue import waiting


def a_pod(name: str = "p1", boot: str = "b1", kv_capacity_tokens: int = 0) -> Pod:
    pod = Pod(name)
    pod.meet(boot)
    pod.told = Snapshot(8, kv_capacity_tokens=kv_capacity_tokens)
    return pod


def a_prompt(number: int, blocks: int = 3) -> Request:
    asked = waiting(order=number)
    asked.block_hashes = block_hashes([number] * blocks * BLOCK_TOKENS)
    return asked


def test_a_prompt_that_was_placed_is_found_at_its_pod():
    sent, asked = SentPrompts(), a_prompt(1)
    assert sent.matches(asked.block_hashes) == {}
    sent.placed(asked, a_pod(), 1.0)
    assert sent.matches(asked.block_hashes) == {"p1": 3 * BLOCK_TOKENS}
    assert sent.matches(a_prompt(2).block_hashes) == {}


def test_what_was_not_sent_for_long_is_forgotten_as_its_index_says():
    sent, asked = SentPrompts(ApproximateIndex(keep_s=5.0)), a_prompt(1)
    sent.placed(asked, a_pod(), 1.0)
    sent.sweep(6.0)
    assert sent.matches(asked.block_hashes)
    sent.sweep(6.5)
    assert sent.matches(asked.block_hashes) == {}


def test_another_boot_has_an_empty_cache():
    sent, old, new = SentPrompts(), a_prompt(1), a_prompt(2)
    sent.placed(old, a_pod(), 1.0)
    sent.placed(new, a_pod(boot="b2"), 2.0)
    assert sent.matches(old.block_hashes) == {}
    assert sent.matches(new.block_hashes) == {"p1": 3 * BLOCK_TOKENS}


def test_a_pod_that_left_is_forgotten_and_the_others_are_not():
    sent, asked = SentPrompts(), a_prompt(1)
    for name in ("p1", "p2"):
        sent.placed(asked, a_pod(name), 1.0)
    sent.retain(["p2", "p3"])
    assert sent.matches(asked.block_hashes) == {"p2": 3 * BLOCK_TOKENS}


def test_no_more_is_believed_than_the_pods_cache_has_room_for():
    sent, first, second = SentPrompts(), a_prompt(1), a_prompt(2)
    pod = a_pod(kv_capacity_tokens=4 * BLOCK_TOKENS)
    sent.placed(first, pod, 1.0)
    sent.placed(second, pod, 2.0)
    assert sent.matches(second.block_hashes) == {"p1": 3 * BLOCK_TOKENS}
    assert sent.matches(first.block_hashes) == {"p1": 1 * BLOCK_TOKENS}


def test_a_prompt_without_blocks_teaches_nothing():
    sent = SentPrompts()
    sent.placed(waiting(order=1), a_pod(), 1.0)
    assert sent.matches(b"") == {}


def test_what_was_sent_to_a_former_boot_is_forgotten_before_anything_is_sent_to_the_new_one():
    sent, asked = SentPrompts(), a_prompt(1)
    pods = {name: a_pod(name) for name in ("p1", "p2")}
    for pod in pods.values():
        sent.placed(asked, pod, 1.0)
    pods["p1"].meet("b2")
    sent.tick(pods, 2.0)
    assert sent.matches(asked.block_hashes) == {"p2": 3 * BLOCK_TOKENS}
    sent.tick({}, 3.0)
    assert sent.matches(asked.block_hashes) == {"p2": 3 * BLOCK_TOKENS}, "who is not listed may only be late"
    sent.placed(asked, pods["p1"], 4.0)
    assert sent.matches(asked.block_hashes) == {"p1": 3 * BLOCK_TOKENS, "p2": 3 * BLOCK_TOKENS}


def test_what_nobody_used_for_an_hour_is_forgotten_by_the_clock_alone():
    index = ApproximateIndex(keep_s=3600.0)
    sent, pod = SentPrompts(index), a_pod()
    sent.placed(a_prompt(1), pod, 0.0)
    sent.tick({"p1": pod}, 3590.0)
    assert len(index) == 3
    sent.tick({"p1": pod}, 3601.0)
    assert len(index) == 3, "a sweep is due once a minute"
    sent.tick({"p1": pod}, 3651.0)
    assert len(index) == 0


def test_of_a_pod_whose_room_is_unknown_a_quarter_of_a_million_tokens_are_believed():
    index = ApproximateIndex()
    sent, pod = SentPrompts(index), a_pod()
    for number in range(1, 500):
        sent.placed(a_prompt(number), pod, 1.0)
    assert len(index) * BLOCK_TOKENS == 262_144
