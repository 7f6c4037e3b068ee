"""Which pair: who prefills and who decodes are one choice."""

from __future__ import annotations

from random import Random

import pytest

from matrixinfer.handlers.dispatch.pairs.pairing import LOOKED_AT, Halves, Pairing
from matrixinfer.handlers.dispatch.pairs.transfer import TransferModel
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.scheduling.port import Choice
from support.scheduling import NOW, a_pod, a_request


def prefiller(name: str, group: str = "g", **fields: object) -> Pod:
    return a_pod(name, role="prefill", pd_group=group, **fields)  # type: ignore[arg-type]


def decoder(name: str, group: str = "g", **fields: object) -> Pod:
    return a_pod(name, role="decode", pd_group=group, **fields)  # type: ignore[arg-type]


def best(
    prefill: list[Pod], decode: list[Pod], *, transfer: TransferModel | None = None, seed: int = 1, **cached: float
) -> Choice | None:
    pairing = Pairing(transfer or TransferModel())
    return pairing.best(a_request(8192), Halves(prefill, decode), cached, NOW, Random(seed))


def names(choice: Choice | None) -> tuple[str, str]:
    assert choice is not None
    assert choice.prefill is not None
    return choice.prefill.name, choice.pod.name


def test_a_pair_is_of_one_group() -> None:
    idle, busy = prefiller("p-idle", "a"), prefiller("p-busy", "b", prefill_tokens=50_000)

    assert names(best([idle, busy], [decoder("d", "b")])) == ("p-busy", "d")
    assert best([idle], [decoder("d", "b")]) is None


def test_the_shorter_prefill_queue_wins() -> None:
    assert names(best([prefiller("p1", prefill_tokens=20_000), prefiller("p2")], [decoder("d")]))[0] == "p2"


def test_a_cached_prefix_is_worth_the_queue_that_it_saves() -> None:
    prefill = [prefiller("p1", prefill_tokens=2000), prefiller("p2")]

    assert names(best(prefill, [decoder("d")], p1=8000.0))[0] == "p1"
    assert names(best(prefill, [decoder("d")], p1=500.0))[0] == "p2"


def test_the_less_loaded_decode_pod_wins() -> None:
    assert names(best([prefiller("p")], [decoder("d1", used=7), decoder("d2", used=1)]))[1] == "d2"


def test_a_decode_pod_that_holds_the_prefix_needs_no_transfer_of_it() -> None:
    assert names(best([prefiller("p")], [decoder("d1"), decoder("d2")], d1=8192.0))[1] == "d1"


def test_both_halves_are_weighed_together_over_the_groups() -> None:
    """The best prefill pod is in the group with the worst decode pod: the sum decides."""
    prefill = [prefiller("p-a", "a"), prefiller("p-b", "b", prefill_tokens=1500)]

    assert names(best(prefill, [decoder("d-a", "a", used=7), decoder("d-b", "b")])) == ("p-b", "d-b")
    assert names(best(prefill, [decoder("d-a", "a", used=1), decoder("d-b", "b")])) == ("p-a", "d-a")


def test_the_way_that_was_fast_before_is_preferred() -> None:
    transfer = TransferModel()
    for number in range(20):
        transfer.observe(8192, 1, 0.05, NOW - number)
        transfer.observe(8192, 0, 2.0, NOW - number)
    decode = [decoder("far", topology=("z2",)), decoder("near", topology=("z1",))]

    assert {
        names(best([prefiller("p", topology=("z1",))], decode, transfer=transfer, seed=n))[1] for n in range(9)
    } == {"near"}


def test_equals_are_chosen_by_chance() -> None:
    prefill, decode = [prefiller("p1"), prefiller("p2")], [decoder("d1"), decoder("d2")]

    assert len({names(best(prefill, decode, seed=seed)) for seed in range(40)}) == 4


def test_the_record_tells_the_seconds_of_each_part() -> None:
    choice = best([prefiller("p1"), prefiller("p2", prefill_tokens=9000)], [decoder("d")], p1=1024.0)

    assert choice is not None
    assert choice.cached_tokens == 1024
    first, second = choice.candidates
    assert (first.prefill_pod, first.pod, first.score) == ("p1", "d", 1.0)
    assert (second.prefill_pod, second.pod) == ("p2", "d")
    assert second.score == pytest.approx(sum(first.scores.values()) / sum(second.scores.values()))
    assert set(first.scores) == {"prefill_s", "transfer_s", "decode_s"}


def test_of_many_pods_a_bounded_number_is_looked_at_and_the_best_group_found() -> None:
    """128 groups of one pair each: the few that are looked at are whole pairs."""
    prefill = [prefiller(f"p{n}", f"g{n}", prefill_tokens=9000) for n in range(127)] + [prefiller("best", "g127")]
    decode = [decoder(f"d{n}", f"g{n}") for n in range(128)]
    found = {names(best(prefill, decode, seed=seed, best=8192.0)) for seed in range(5)}

    assert found == {("best", "d127")}
    choice = best(prefill, decode)
    assert choice is not None
    assert len(choice.candidates) <= LOOKED_AT
