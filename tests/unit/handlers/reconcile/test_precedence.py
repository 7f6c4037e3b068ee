"""Who has what several want."""

from __future__ import annotations

from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.api.modelroute import ModelRoute
from matrixinfer.handlers.reconcile.precedence import holders


def route(number: int, *names: str) -> ModelRoute:
    """The `number` is its age."""
    (made,) = parse_manifests(
        "apiVersion: matrixinfer.ai/v1alpha1\nkind: ModelRoute\nmetadata: {name: r}\n"
        f"spec: {{loraAdapters: [{', '.join(names)}], rules: [{{targetModels: [{{modelServerName: s}}]}}]}}"
    )
    assert isinstance(made, ModelRoute)
    metadata = made.metadata.model_copy(update={"name": f"r{number:05}"})
    return made.model_copy(update={"metadata": metadata})


def held(subject: ModelRoute, *others: ModelRoute) -> list[str]:
    found = holders(subject, others, lambda one, other: not one.names.isdisjoint(other.names))
    return [one.metadata.name for one in found]


def test_the_oldest_holds_whatever_the_order_in_which_they_are_met():
    assert held(route(3, "a"), route(2, "a"), route(1, "a")) == ["r00001"]
    assert held(route(1, "a"), route(2, "a")) == []


def test_who_lost_a_part_holds_nothing_and_who_has_two_names_may_lose_to_two():
    assert held(route(3, "b"), route(1, "a"), route(2, "a", "b")) == []
    assert held(route(4, "a", "b"), route(1, "a"), route(2, "b"), route(3, "a", "c")) == ["r00001", "r00002"]


def test_a_long_chain_of_losers_and_holders_is_followed_to_its_end():
    chain = [route(number, f"n{number}", f"n{number + 1}") for number in range(2000)]
    assert held(route(9999, "n2000"), *chain) == []
    assert held(route(9999, "n1999"), *chain) == ["r01998"]
