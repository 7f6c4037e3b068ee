"""Halves and requests that would wait for what never comes, or longer than they need to."""

from __future__ import annotations

import pytest

from matrixinfer.bus.contracts.control import Dumped
from matrixinfer.bus.contracts.disaggregation import Disaggregation
from matrixinfer.bus.contracts.load import Finished, LoadEvent, Snapshot, WorkKey
from matrixinfer.bus.contracts.profile import Plugin, Profile, WeightedPlugin
from matrixinfer.bus.contracts.serving import PoolPod
from support.paired_pool import AUTO, Pool, where
from support.scripted import MS, NS

ALWAYS = Disaggregation("http", "always")
SGLANG = Disaggregation("sglang", "always")


def silence(pool: Pool, name: str) -> None:
    """The others are heard, this one is not."""
    for _ in range(16):
        pool.now += 0.25
        for other in sorted(pool.boots.keys() - {name}):
            pool.tell(other)
        pool.state.fleet.tick(pool.now, 0.0)


def test_the_decode_half_left_behind_at_a_silent_agent_learns_that_its_prefill_was_ended() -> None:
    pool = Pool(ALWAYS, p="prefill", d="decode", e="decode")
    (placement,) = pool.ask()
    assert placement.prefill is not None
    silence(pool, placement.pod)
    effects = pool.state.lost(placement.pod, died=False)

    assert effects.aborted == [("p", placement.prefill.work)]
    ((pod, handed),) = effects.handed
    assert (pod, handed.key, handed.boot) == (placement.pod, placement.work, placement.boot)
    assert handed.lost


def test_the_answer_to_where_names_the_phase_of_a_half_that_a_successor_finds_running() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")
    decode = WorkKey("r", 1, 3, "decode")
    pool.state.begin_reign(2, pool.now)
    pool.state.dumped("d", Dumped("d-1", 1, False, Snapshot(2, running=[decode]), []), pool.now, pool.now)

    assert pool.ask() == []
    answer = pool.state.where(("r", 1), pool.now)
    assert answer is not None
    assert (answer.state, answer.pod, answer.hop, answer.phase) == ("settled", "d", 3, "decode")


@pytest.mark.parametrize("role", ["server", "decode"])
def test_one_that_waits_for_a_prefill_pod_goes_to_a_pod_where_it_holds_nobody_up_as_soon_as_there_is_one(
    role: str,
) -> None:
    pool = Pool(AUTO, p="prefill", d="decode", s=role)
    pool.tell("p", started=(WorkKey("a", 1, 1), WorkKey("b", 1, 1)))
    pool.tell("d", started=(WorkKey("c", 1, 1),))
    busy = [WorkKey("x", 1, 1), WorkKey("y", 1, 1)]
    pool.tell("s", started=tuple(busy))
    assert pool.ask("waits") == []
    assert pool.place() == [], "asked again just now"
    pool.tell("s", finished=tuple(Finished(work, "completed", True) for work in busy))

    assert where(pool.place()) == [("", "s")]


def test_what_prefill_pods_finish_recalls_nobody_while_no_pod_can_decode() -> None:
    pool = Pool(ALWAYS, p="prefill", d="decode")
    pool.tell("d", started=(WorkKey("a", 1, 1), WorkKey("b", 1, 1)))
    for number in range(3):
        assert pool.ask(f"r{number}") == []
    assert pool.queue.head(pool.now) is None, "all were passed over"
    pool.tell("p", started=(WorkKey("z", 1, 1, "prefill"),))
    pool.tell("p", finished=(Finished(WorkKey("z", 1, 1, "prefill"), "completed", True),))
    assert pool.place() == []
    tries: list[str] = []
    placing = pool.state._placing
    former = placing._try
    placing._try = lambda request, room, now: tries.append(request.key[0]) or former(request, room, now)  # type: ignore[method-assign,func-returns-value]
    pool.tell("p", started=(WorkKey("z", 1, 2, "prefill"),))
    pool.tell("p", finished=(Finished(WorkKey("z", 1, 2, "prefill"), "completed", True),))
    pool.place()
    assert tries == []


def test_a_half_given_back_avoids_the_prefill_pod_even_if_that_has_not_said_yet_that_it_failed() -> None:
    pool = Pool(SGLANG, p="prefill", q="prefill", d="decode")
    pool.state.fleet.pods["q"].footprints.add(WorkKey("ahead", 1, 1), 100, 100, pool.now)
    (placement,) = pool.ask()
    assert placement.prefill is not None
    assert placement.prefill.pod == "p", "it costs less"
    pool.give_back(placement)
    (again,) = pool.place()

    assert again.prefill is not None
    assert again.prefill.pod != placement.prefill.pod


def test_a_half_given_back_avoids_the_prefill_pod_that_said_before_that_it_failed() -> None:
    pool = Pool(SGLANG, p="prefill", q="prefill", d="decode")
    pool.state.fleet.pods["q"].footprints.add(WorkKey("ahead", 1, 1), 100, 100, pool.now)
    (placement,) = pool.ask()
    pool.end_prefill(placement, "failed")
    assert placement.prefill is None or placement.prefill.pod == "p"
    pool.give_back(placement)
    (again,) = pool.place()

    assert again.prefill is not None
    assert again.prefill.pod == "q"


def test_prefill_pods_that_died_together_get_a_request_once_each_while_nobody_has_noticed() -> None:
    pool = Pool(SGLANG, p="prefill", q="prefill", r="prefill", d="decode")
    ahead = WorkKey("ahead", 1, 1)
    pool.tell("r", started=(ahead,))
    pool.state.fleet.pods["r"].footprints.add(ahead, 800, 800, pool.now)
    (placement,) = pool.ask(tokens=100)
    met = []
    while placement.prefill is not None and placement.prefill.pod != "r":
        met.append(placement.prefill.pod)
        effects = pool.give_back(placement)
        assert not effects.failed
        (placement,) = pool.place()
    assert sorted(met) == ["p", "q"]


def test_a_prefill_pod_that_was_taken_for_dead_gets_work_again_as_soon_as_it_is_heard() -> None:
    pool = Pool(SGLANG, p="prefill", d="decode")
    (placement,) = pool.ask(tokens=100)
    pool.give_back(placement)
    assert pool.place() == []
    pool.tell("p")

    assert where(pool.place()) == [("p", "d")]


def test_without_a_plan_prefill_pods_get_nothing_whatever_the_profile_filters() -> None:
    no_role = Profile("p", [Plugin("ready")], [WeightedPlugin("least_requests")])
    pool = Pool(None, no_role, p="prefill", d="decode")
    placements = [pool.ask(f"r{number}") for number in range(3)]

    assert [where(some) for some in placements] == [[("", "d")], [("", "d")], []]


def test_a_prompt_that_no_prefill_pod_may_take_need_not_wait_for_one() -> None:
    pool = Pool(AUTO, p="prefill", d="decode")
    pool.sequences["d"] += 1
    with_adapter = Snapshot(2, running=[WorkKey("a", 1, 1)], adapters=["lora"])
    pool.state.heard(LoadEvent(NS, "d", "d-1", pool.sequences["d"], False, [], [], with_adapter), pool.now)

    assert where(pool.ask("r", adapter="lora")) == [("", "d")]


def test_a_group_of_decode_pods_without_a_prefill_pod_serves_alone() -> None:
    pool = Pool(AUTO, p="prefill", d="decode", e="decode")
    groups = {"p": ("prefill", "g"), "d": ("decode", "g"), "e": ("decode", "h")}
    listed = {name: PoolPod(NS, MS, name, role=role, pd_group=group) for name, (role, group) in groups.items()}
    pool.state.fleet.list_pods(listed)
    pool.tell("d", started=(WorkKey("a", 1, 1), WorkKey("b", 1, 1)))
    pool.tell("e", started=(WorkKey("c", 1, 1),))

    assert where(pool.ask("r")) == [("", "e")]


def test_no_pair_meets_at_a_prefill_engine_whose_bootstrap_server_is_not_known() -> None:
    pool = Pool(SGLANG, p="prefill", d="decode")
    pool.sequences["p"] += 1
    pool.state.heard(LoadEvent(NS, "p", "p-1", pool.sequences["p"], False, [], [], Snapshot(2)), pool.now)

    assert pool.ask("r") == []
