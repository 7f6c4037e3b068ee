"""What the cache believes: the watch, except where a write of this process is still on its way through it."""

from __future__ import annotations

import json

import pytest

from matrixinfer.bus.contracts.cluster import object_key
from matrixinfer.bus.ports.store import Change, Entry
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.cluster.local.cache import Cache

KEY = object_key("Model", "default", "m")


def entry(revision: int, replicas: int = 1) -> Entry:
    body = {
        "apiVersion": "matrixinfer.ai/v1alpha1",
        "kind": "Model",
        "metadata": {"name": "m", "namespace": "default"},
        "spec": {"backends": [{"name": "a", "type": "Simulated", "minReplicas": replicas}]},
    }
    return Entry(KEY, json.dumps(Model.read(body).to_json()).encode(), revision)


def held(cache: Cache) -> tuple[int, int] | None:
    """Revision and replicas."""
    cached = cache.get("Model", KEY)
    if cached is None:
        return None
    resource = cached.readable()
    assert isinstance(resource, Model)
    return cached.revision, resource.spec.backends[0].min_replicas


@pytest.mark.parametrize("value", [b"{", b"[]", b'{"metadata": 3}', b"[" * 100_000, b'{"metadata": ' + b"[" * 100_000])
def test_what_cannot_be_read_is_kept_with_its_problem_and_hides_nothing_else(value: bytes) -> None:
    cache = Cache()
    cache.saw(Change.to(Entry(object_key("Model", "default", "odd"), value, 1)))
    cache.saw(Change.to(entry(2, 3)))
    assert held(cache) == (2, 3)
    odd = cache.get("Model", object_key("Model", "default", "odd"))
    assert odd is not None
    assert "Model default/odd cannot be read by this version" in odd.problem


def test_a_bucket_made_again_is_believed_though_its_revisions_are_lower_or_the_same() -> None:
    cache = Cache()
    cache.load({KEY: entry(500, 1)})
    cache.wrote(Change.to(entry(501, 5)))
    cache.saw(Change.to(entry(3, 2)))
    assert held(cache) == (3, 2)
    cache.saw(Change.to(entry(3, 4)))
    assert held(cache) == (3, 4)
    cache.wrote(Change.to(entry(4, 5)))
    assert held(cache) == (4, 5)


def test_what_the_watch_still_brings_from_before_our_write_is_ignored() -> None:
    cache = Cache()
    cache.load({KEY: entry(9, 1)})
    cache.wrote(Change.to(entry(12, 3)))
    cache.saw(Change.to(entry(10, 2)))
    cache.saw(Change(KEY, None, 11))
    assert held(cache) == (12, 3)
    cache.saw(Change.to(entry(12, 3)))
    assert cache.in_doubt() == {}
    cache.wrote(Change(KEY, None, 14))
    cache.saw(Change.to(entry(13, 4)))
    assert held(cache) is None
    cache.saw(Change(KEY, None, 14))
    assert cache.in_doubt() == {}


def test_what_others_did_after_our_write_holds_though_the_watch_never_brings_our_write() -> None:
    """The bucket keeps one message of a key: a reader that lags gets the last alone."""
    cache = Cache()
    cache.load({KEY: entry(10, 1)})
    cache.wrote(Change.to(entry(12, 3)))
    cache.saw(Change(KEY, None, 13))
    assert held(cache) is None
    cache.wrote(Change.to(entry(14, 3)))
    cache.saw(Change.to(entry(15, 4)))
    assert held(cache) == (15, 4)
    assert cache.in_doubt() == {}


def test_the_answer_to_our_write_may_come_after_the_watch_has_brought_what_followed_it() -> None:
    cache = Cache()
    cache.load({KEY: entry(10, 1)})
    cache.saw(Change(KEY, None, 13))
    cache.wrote(Change.to(entry(12, 3)))
    assert held(cache) is None
    cache.saw(Change.to(entry(16, 4)))
    cache.wrote(Change(KEY, None, 15))
    assert held(cache) == (16, 4)
    assert cache.in_doubt() == {}


def test_a_write_that_was_lost_with_the_bucket_yields_to_what_is_read_there() -> None:
    cache = Cache()
    cache.wrote(Change.to(entry(500, 1)))
    cache.settle(KEY, 500, entry(3, 2))
    assert held(cache) == (3, 2)
    cache.wrote(Change(KEY, None, 4))
    cache.settle(KEY, 4, entry(2, 4))
    assert held(cache) == (2, 4)
    assert cache.in_doubt() == {}


def test_what_was_read_before_a_newer_write_of_ours_settles_nothing() -> None:
    cache = Cache()
    cache.wrote(Change.to(entry(12, 1)))
    doubts = cache.in_doubt()
    cache.wrote(Change.to(entry(14, 2)))
    cache.settle(KEY, doubts[KEY], None)
    assert held(cache) == (14, 2)
    assert cache.in_doubt() == {KEY: 14}
