"""What the cache believes: the watch, except where a write of this process is still on its way through it."""

from __future__ import annotations

import json

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


def test_a_bucket_made_again_is_believed_though_its_revisions_are_lower_or_the_same() -> None:
    cache = Cache()
    cache.load({KEY: entry(500, 1)})
    cache.saw(Change(KEY, entry(3, 2)))
    assert held(cache) == (3, 2)
    cache.saw(Change(KEY, entry(3, 4)))
    assert held(cache) == (3, 4)


def test_what_the_watch_still_brings_from_before_our_write_is_ignored() -> None:
    cache = Cache()
    cache.load({KEY: entry(10, 1)})
    cache.wrote(entry(12, 3))
    cache.saw(Change(KEY, entry(11, 2)))
    cache.saw(Change(KEY, None))
    assert held(cache) == (12, 3)
    cache.saw(Change(KEY, entry(12, 3)))
    assert cache.in_doubt() == []
    cache.deleted(KEY, 12)
    cache.saw(Change(KEY, entry(12, 3)))
    assert held(cache) is None


def test_a_write_that_was_lost_with_the_bucket_yields_to_what_is_read_there() -> None:
    cache = Cache()
    cache.wrote(entry(500, 1))
    cache.settle(KEY, entry(3, 2))
    assert held(cache) == (3, 2)
    cache.deleted(KEY, 3)
    cache.settle(KEY, entry(2, 4))
    assert held(cache) == (2, 4)
    assert cache.in_doubt() == []
