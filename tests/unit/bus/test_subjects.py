"""The grammar of subjects: any name survives the way into a subject or a key and back, and takes one token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.bus.errors import Malformed
from matrixinfer.bus.subjects import Subjects, escape, key, parse_key, partition_of, unescape

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
prefixes = st.builds(Subjects, st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True))


@given(names)
def test_a_token_gives_its_name_back_and_holds_nothing_that_separates(name: str) -> None:
    token = escape(name)
    assert unescape(token) == name
    assert not set(token) & set(". *>\t\r\n")


@given(prefixes, names, names, st.integers(0, 9999), names)
def test_the_subject_of_a_request_gives_its_parts_back(
    subjects: Subjects, namespace: str, modelserver: str, shard: int, tenant: str
) -> None:
    subject = subjects.infer(namespace, modelserver, shard, tenant)
    assert subjects.parse_infer(subject) == (namespace, modelserver, shard, tenant)


@given(prefixes, names, names, names)
def test_the_reference_to_a_body_gives_its_parts_back(
    subjects: Subjects, namespace: str, modelserver: str, rid: str
) -> None:
    assert subjects.parse_body(subjects.body(namespace, modelserver, rid)) == (namespace, modelserver, rid)


@given(prefixes, names, names)
def test_the_subjects_of_a_pod_give_its_names_back(subjects: Subjects, namespace: str, pod: str) -> None:
    assert subjects.parse_work(subjects.work(namespace, pod)) == (namespace, pod)
    assert subjects.parse_load(subjects.load(namespace, pod)) == (namespace, pod)
    assert subjects.parse_cache(subjects.cache(namespace, pod)) == (namespace, pod)


@given(prefixes, names, names, names)
def test_the_subject_of_an_object_gives_its_parts_back(
    subjects: Subjects, kind: str, namespace: str, name: str
) -> None:
    parsed = subjects.parse_reconcile(subjects.reconcile(kind, namespace, name))
    assert parsed == (partition_of(kind, namespace, name), kind, namespace, name)


@given(st.lists(names, min_size=1, max_size=5))
def test_a_key_gives_its_names_back(parts: list[str]) -> None:
    assert parse_key(key(*parts)) == tuple(parts)


@pytest.mark.parametrize("token", ["", "a.b", "a b", "=2e", "=4", "=41", "=FF", "ä", "a*"])
def test_a_token_that_escaping_never_makes_is_refused(token: str) -> None:
    with pytest.raises(Malformed, match="token"):
        unescape(token)


@pytest.mark.parametrize(
    "subject",
    ["mi.work.ns", "mi.work.ns.pod.more", "mi.load.ns.pod", "other.work.ns.pod", "miwork.ns.pod", "mi.work.ns.=2e", ""],
)
def test_a_subject_of_another_shape_is_refused(subject: str) -> None:
    with pytest.raises(Malformed):
        Subjects("mi").parse_work(subject)


@pytest.mark.parametrize("shard", ["", "x", "-1", "1.5", "²"])
def test_a_shard_that_is_no_number_is_refused(shard: str) -> None:
    with pytest.raises(Malformed):
        Subjects("mi").parse_infer(f"mi.infer.ns.ms.{shard}.tenant")


def test_an_empty_name_or_a_prefix_of_several_tokens_is_refused() -> None:
    with pytest.raises(Malformed):
        escape("")
    with pytest.raises(Malformed):
        Subjects("a.b")
