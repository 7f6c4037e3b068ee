"""What to believe, what to send, how long to wait."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.api.registry import KINDS
from matrixinfer.handlers.cluster.kubernetes.backoff import LAST_S, LONGEST_ASKED_S, Backoff
from matrixinfer.handlers.cluster.kubernetes.cache import Cache
from matrixinfer.handlers.cluster.kubernetes.requests import (
    applied_body,
    collection_path,
    delete_options,
    is_still_there,
    object_path,
)

NONE: frozenset[str] = frozenset()
KEY = "default/m"


def body(version: int, uid: str = "u", replicas: int = 1) -> dict[str, Any]:
    metadata = {"name": "m", "namespace": "default", "uid": uid, "resourceVersion": str(version)}
    backend = {"name": "a", "type": "Simulated", "minReplicas": replicas}
    return {"apiVersion": Model.API_VERSION, "kind": "Model", "metadata": metadata, "spec": {"backends": [backend]}}


def held(cache: Cache) -> tuple[int, str] | None:
    cached = cache.get("Model", KEY)
    return None if cached is None else (cached.revision, cached.uid)


def test_a_watch_that_lags_behind_our_write_is_not_believed():
    cache = Cache()
    cache.wrote("Model", body(12))
    cache.saw("Model", "MODIFIED", body(11))
    assert held(cache) == (12, "u")
    cache.saw("Model", "MODIFIED", body(13))
    assert held(cache) == (13, "u")


def test_an_answer_that_comes_after_what_followed_it_is_late():
    cache = Cache()
    cache.saw("Model", "ADDED", body(12))
    assert cache.wrote("Model", body(12)) is cache.get("Model", KEY)
    cache.saw("Model", "MODIFIED", body(13))
    assert cache.wrote("Model", body(12)).revision == 12, "the caller sees what it wrote"
    assert held(cache) == (13, "u")
    cache.saw("Model", "DELETED", body(14))
    cache.wrote("Model", body(12))
    assert held(cache) is None


def test_what_we_deleted_does_not_come_back_by_a_watch_that_lags_behind():
    cache = Cache()
    cache.wrote("Model", body(12))
    cache.deleted("Model", KEY, "u", cache.get("Model", KEY))
    cache.saw("Model", "ADDED", body(11))
    cache.saw("Model", "MODIFIED", body(12))
    assert held(cache) is None
    cache.wrote("Model", body(20, "v"))
    cache.saw("Model", "DELETED", body(15))
    assert held(cache) == (20, "v")
    assert cache.graves("Model") == NONE


def test_a_list_from_before_our_write_does_not_take_it_away():
    cache = Cache()
    cache.wrote("Model", body(12))
    cache.listed("Model", [], 11, NONE)
    assert held(cache) == (12, "u")
    cache.listed("Model", [], 12, NONE)
    assert held(cache) is None


def test_a_grave_ends_with_a_list_that_was_begun_after_it_was_dug():
    cache = Cache()
    cache.wrote("Model", body(12))
    before = cache.graves("Model")
    cache.deleted("Model", KEY, "u", cache.get("Model", KEY))
    cache.listed("Model", [body(12)], 12, before)
    assert held(cache) is None
    assert cache.graves("Model") == {"u"}
    cache.listed("Model", [], 15, cache.graves("Model"))
    assert cache.graves("Model") == NONE


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.data())
def test_however_late_the_watch_is_the_end_is_what_the_server_has(steps, data):
    """Steps of one object: 0 changes it, 1 deletes it, 2 makes it anew. This process does some of them itself, and the
    watch brings all of them, each at any time after it happened."""
    history: list[tuple[str, dict[str, Any]]] = []
    current: Any = None
    cache, told, last = Cache(), 0, ""
    for version, step in enumerate(steps, start=1):
        if current is None:
            current, what = body(version, f"uid-{version}"), "ADDED"
        elif step == 1:
            current, what, last = None, "DELETED", current["metadata"]["uid"]
        else:
            current, what = body(version, current["metadata"]["uid"]), "MODIFIED"
        history.append((what, current or body(version, last)))
        if data.draw(st.booleans(), label="ours"):
            if current is None:
                cache.deleted("Model", KEY, last, cache.get("Model", KEY))
            else:
                cache.wrote("Model", body(version, current["metadata"]["uid"]))
            assert held(cache) == (current and (version, current["metadata"]["uid"])), "a writer reads its own write"
        behind = data.draw(st.integers(0, len(history) - told), label="told")
        for what, content in history[told : told + behind]:
            cache.saw("Model", what, content)
        told += behind
    for what, content in history[told:]:
        cache.saw("Model", what, content)
    assert held(cache) == (current and (len(steps), current["metadata"]["uid"]))
    assert cache.graves("Model") == NONE


def test_paths_are_those_of_the_api():
    assert collection_path(KINDS["Pod"]) == "/api/v1/pods"
    expected = "/apis/matrixinfer.ai/v1alpha1/namespaces/default/models/m/status"
    assert object_path(KINDS["Model"], "default", "m", "status") == expected


def test_an_apply_says_only_what_is_ours():
    read = Model.read(body(12) | {"status": {"observedGeneration": 3}})
    assert applied_body(read)["metadata"] == {"name": "m", "namespace": "default", "uid": "u"}
    assert "status" not in applied_body(read)


def test_a_delete_means_one_object_and_keeps_a_pods_grace():
    assert delete_options("u")["preconditions"] == {"uid": "u"}
    assert "gracePeriodSeconds" not in delete_options(None)


def test_what_waits_for_its_end_is_still_there():
    going = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}}
    assert is_still_there(going)
    assert not is_still_there({"metadata": going["metadata"] | {"deletionGracePeriodSeconds": 0}})
    assert is_still_there({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x"]}})
    assert not is_still_there({"kind": "Status", "status": "Success"})


@given(st.lists(st.tuples(st.floats(0, 0.999), st.none() | st.floats(0, 1e6)), max_size=30))
def test_waits_grow_have_an_end_and_are_never_shorter_than_asked_for(failures):
    backoff = Backoff()
    for chance, asked_s in failures:
        wait_s = backoff.failed(chance, asked_s)
        assert min(asked_s or 0.0, LONGEST_ASKED_S) <= wait_s <= max(LAST_S, 1.1 * LONGEST_ASKED_S)
    backoff.succeeded()
    assert backoff.failed(0.0) < 1.0
