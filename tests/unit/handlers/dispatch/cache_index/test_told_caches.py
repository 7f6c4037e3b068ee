"""What the scheduler is told: by the engines, by what was sent to them since, and by nobody where there is doubt."""

from __future__ import annotations

from matrixinfer.bus.contracts.cache import BlocksRemoved, BlocksStored, CacheEvent
from matrixinfer.bus.contracts.control import CacheDumped
from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.bus.contracts.load import Finished, WorkKey
from matrixinfer.handlers.dispatch.cache_index.told_caches import ToldCaches
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from support.scheduling import a_pod, a_request

HASHES = b"".join(bytes([number] * 8) for number in range(1, 5))
TWO = HASHES[:16]
BOOT = "b1"


def pod_of(name: str = "p1", boot: str = BOOT) -> Pod:
    pod = a_pod(name)
    pod.meet(boot)
    return pod


def introduce(caches: ToldCaches, name: str = "p1", hashes: bytes = b"", boot: str = BOOT) -> None:
    """Its first event, and the dump that follows."""
    caches.hear(CacheEvent("ns", name, boot, 0))
    ask = caches.next_ask(0.0)
    assert ask is not None
    assert ask.pod == name
    caches.answered(ask, CacheDumped(boot, 0, blocks=[BlocksStored(hashes)] if hashes else []), 0.0)


def stored(sequence: int, hashes: bytes, name: str = "p1", boot: str = BOOT) -> CacheEvent:
    return CacheEvent("ns", name, boot, sequence, [BlocksStored(hashes)])


def told(*names: str) -> ToldCaches:
    caches = ToldCaches(4096, pace_s=0.0)
    for name in names:
        introduce(caches, name)
    return caches


def a_prompt(rid: str = "r") -> Request:
    return a_request(1024, key=(rid, 1), block_hashes=HASHES)


def test_nobody_is_known_before_something_was_heard_and_nothing_is_asked() -> None:
    caches = ToldCaches()
    assert not caches.knows("p1")
    assert caches.matches(HASHES) == {}
    assert caches.next_ask(0.0) is None
    caches.placed(a_prompt(), pod_of(), 0.0)
    assert caches.tick(0.0) == []


def test_a_pod_is_known_when_its_dump_came_and_then_by_its_events() -> None:
    caches = ToldCaches(4096, pace_s=0.0)
    caches.hear(stored(7, TWO))
    assert not caches.knows("p1")
    assert caches.matches(HASHES) == {}, "what was missed may be anything: others know better"
    ask = caches.next_ask(0.0)
    assert ask is not None
    caches.answered(ask, CacheDumped(BOOT, 7, blocks=[BlocksStored(TWO)]), 0.0)
    assert caches.knows("p1")
    assert caches.matches(HASHES) == {"p1": 512.0}
    caches.hear(stored(8, HASHES))
    assert caches.matches(HASHES) == {"p1": 1024.0}


def test_a_burst_finds_the_prompt_where_its_first_request_went_though_nobody_told_yet() -> None:
    caches = told("p1", "p2")
    caches.placed(a_prompt(), pod_of("p2"), 10.0)
    assert caches.matches(HASHES) == {"p2": 1024.0}
    assert caches.cached_tokens("p2", HASHES) == 0


def test_what_was_sent_counts_as_long_as_it_has_not_started() -> None:
    caches, pod, prompt = told("p1"), pod_of(), a_prompt()
    caches.placed(prompt, pod, 0.0)
    pod.placed[prompt.key] = prompt
    for tenth in range(100):
        caches.tick(tenth / 10)
    assert caches.matches(HASHES) == {"p1": 1024.0}
    del pod.placed[prompt.key]
    for tenth in range(100, 150):
        caches.tick(tenth / 10)
    assert caches.matches(HASHES) == {}, "it started, and the engine had the time to tell"


def test_what_the_engine_told_stays_when_what_was_sent_is_forgotten() -> None:
    caches = told("p1")
    caches.placed(a_prompt(), pod_of(), 0.0)
    caches.hear(stored(1, TWO))
    assert caches.matches(HASHES) == {"p1": 1024.0}
    caches.tick(5.0)
    caches.tick(10.0)
    assert caches.matches(HASHES) == {"p1": 512.0}


def test_a_gap_makes_the_pod_unknown_until_it_was_asked() -> None:
    caches = told("p1", "p2")
    caches.hear(stored(1, HASHES))
    caches.hear(stored(1, TWO, "p2"))
    caches.hear(stored(3, TWO))
    assert (caches.knows("p1"), caches.knows("p2")) == (False, True)
    assert caches.matches(HASHES) == {"p2": 512.0}


def test_another_boot_and_a_pod_that_is_gone_have_nothing() -> None:
    caches = told("p1", "p2")
    caches.hear(stored(1, HASHES))
    caches.hear(stored(1, HASHES, "p2"))
    caches.gone("p2")
    caches.hear(stored(1, TWO, boot="b2"))
    assert not caches.knows("p1")
    assert not caches.knows("p2")
    assert caches.matches(HASHES) == {}


def test_pods_that_left_the_pool_are_dropped() -> None:
    caches = told("p1", "p2")
    caches.placed(a_prompt(), pod_of("p1"), 0.0)
    caches.retain(["p2"])
    assert not caches.knows("p1")
    assert caches.matches(HASHES) == {}
    assert caches.knows("p2")


def end(caches: ToldCaches, rid: str, cached_tokens: int) -> None:
    caches.ended("p1", BOOT, [Finished(WorkKey(rid, 1, 1), "completed", True, Usage(1024, cached_tokens, 1))])


def test_a_pod_at_which_the_index_does_not_come_true_is_told_once_and_no_longer_believed() -> None:
    caches = told("p1")
    caches.hear(stored(1, HASHES))
    news = []
    for number in range(40):
        caches.placed(a_prompt(f"r{number}"), pod_of(), float(number))
        end(caches, f"r{number}", 0)
        news += caches.tick(float(number))
    assert [suspicion.pod for suspicion in news] == ["p1"]
    assert [suspicion.pod for suspicion in caches.suspicions()] == ["p1"]
    assert not caches.knows("p1")
    assert caches.matches(HASHES) == {}


def test_a_pod_that_comes_true_again_is_believed_again() -> None:
    caches = told("p1")
    caches.hear(stored(1, HASHES))
    for number in range(400):
        caches.placed(a_prompt(f"r{number}"), pod_of(), float(number))
        end(caches, f"r{number}", 0 if number < 40 else 1023)
        caches.tick(float(number))
    assert caches.suspicions() == []
    assert caches.knows("p1")


def test_the_same_question_is_answered_anew_after_everything_that_can_change_the_answer() -> None:
    caches = told("p1", "p2")
    answers = []

    def note() -> None:
        answers.append(dict(caches.matches(HASHES)))

    note()
    caches.hear(stored(1, TWO))
    note()
    caches.placed(a_prompt(), pod_of("p2"), 0.0)
    note()
    caches.tick(10.0)
    note()
    caches.retain(["p2"])
    note()
    introduce(caches, "p3", HASHES)
    note()
    caches.gone("p3")
    note()
    one, two, both = {"p1": 512.0}, {"p3": 1024.0}, {"p1": 512.0, "p2": 1024.0}
    assert answers == [{}, one, both, one, {}, two, {}]


def test_a_prompt_that_the_engine_has_told_wholly_counts_by_its_word_alone() -> None:
    caches = told("p1")
    caches.hear(stored(1, HASHES))
    caches.placed(a_prompt(), pod_of(), 0.0)
    caches.hear(CacheEvent("ns", "p1", BOOT, 2, [BlocksRemoved(HASHES[16:])]))
    assert caches.matches(HASHES) == {"p1": 512.0}
