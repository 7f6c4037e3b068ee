"""Finding by labels is finding among all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.handlers.cluster.known import Known, read

LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"), max_size=2)
NAMES = st.sampled_from(["one", "two", "three"])
STEPS = st.lists(st.tuples(NAMES, st.sampled_from(["default", "other"]), st.none() | LABELS), max_size=20)


@given(STEPS, LABELS, st.none() | st.just("default"))
def test_what_is_found_by_labels_is_what_has_them(steps, wanted, namespace):
    known = Known()
    truth: dict[str, dict[str, str]] = {}
    for revision, (name, where, labels) in enumerate(steps, start=1):
        key = f"{where}/{name}"
        truth.pop(key, None)
        if labels is None:
            known.put("Pod", key, None)
            continue
        metadata = {"name": name, "namespace": where, "uid": "u", "labels": labels}
        body = {"metadata": metadata, "spec": {"containers": [{"name": "c"}]}}
        known.put("Pod", key, read("Pod", key, body, revision))
        truth[key] = labels
    found = sorted(f"{one.metadata.namespace}/{one.metadata.name}" for one in known.select("Pod", namespace, wanted))
    assert found == sorted(
        key for key, labels in truth.items() if wanted.items() <= labels.items() and key.startswith(namespace or "")
    )
