"""Plug-ins change pods as they are made; who names one that cannot be used is told, and loses nothing that serves."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from matrixinfer.handlers.api.meta import Part
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.podplugins import NoConfig
from matrixinfer.handlers.errors import BadPodPlugin
from matrixinfer.handlers.reconcile.podplugins import registry
from matrixinfer.handlers.reconcile.podplugins.port import Factory, PodContext
from support.checkout import ROOT
from support.rolling import Rolling, role

PAGE = (ROOT / "docs/groups.md").read_text()
LWS = "leaderworkerset.sigs.k8s.io/"


class Prefix(Part):
    prefix: str


def renamed(config: Prefix) -> Any:
    """Any: a Mutation. One that does what it must not, too."""

    def change(pod: Pod, context: PodContext) -> Pod:
        labels = {"place": f"{config.prefix}{context.role}-{context.number}-of-{context.size}"}
        metadata = pod.metadata.model_copy(update={"name": "other", "labels": labels, "owner_references": ()})
        return pod.model_copy(update={"metadata": metadata})

    return change


def broken(config: NoConfig) -> Any:
    def change(pod: Pod, context: PodContext) -> Pod:
        raise RuntimeError("out of order")

    return change


def forgetful(config: NoConfig) -> Any:
    return lambda pod, context: None


MINE = {
    ("Installed", "renamed"): Factory(Prefix, renamed),
    ("Installed", "broken"): Factory(NoConfig, broken),
    ("Installed", "forgetful"): Factory(NoConfig, forgetful),
}


def with_plugins(*plugins: dict[str, Any], **spec: Any) -> Rolling:
    it = Rolling(plugins=list(plugins), **spec)
    it.world.plugins = {**registry.BUILT_IN, **MINE}
    it.settle()
    return it


def test_pods_can_have_the_labels_of_a_leader_worker_set():
    it = with_plugins({"name": "lws-standard-labels"}, roles=[role(workers=1)])
    found = {pod.metadata.name: pod.metadata.labels for pod in it.pods()}
    told = [(one[f"{LWS}name"], one[f"{LWS}group-index"], one[f"{LWS}worker-index"]) for one in found.values()]
    assert told == [("i", "0", "0"), ("i", "0", "1"), ("i", "1", "0"), ("i", "1", "1")]
    keys = [one[f"{LWS}group-key"] for one in found.values()]
    assert keys[0] == keys[1] != keys[2] == keys[3]


def test_labels_annotations_and_variables_are_added_where_a_template_does_not_say_them():
    server = role()
    server["entryTemplate"]["metadata"] = {"labels": {"team": "own"}}
    server["entryTemplate"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "own"}]
    config = {
        "labels": {"team": "other", "tier": "gold"},
        "annotations": {"note": "n"},
        "env": [{"name": "A", "value": "other"}, {"name": "B", "value": "b"}],
    }
    it = with_plugins({"name": "pod-metadata", "config": config}, replicas=1, roles=[server])
    (pod,) = it.pods()
    assert (pod.metadata.labels["team"], pod.metadata.labels["tier"]) == ("own", "gold")
    assert pod.metadata.annotations == {"note": "n"}
    assert [(one.name, one.value) for one in pod.spec.containers[0].env][-2:] == [("A", "own"), ("B", "b")]


@pytest.mark.parametrize(
    ("scope", "meant"),
    [
        ({}, {"decode-0-0", "decode-0-1", "prefill-0-0"}),
        ({"target": "Entry"}, {"decode-0-0", "prefill-0-0"}),
        ({"target": "Worker"}, {"decode-0-1"}),
        ({"roles": ["decode"]}, {"decode-0-0", "decode-0-1"}),
        ({"roles": ["prefill"], "target": "Worker"}, set()),
    ],
)
def test_a_scope_says_whose_pods_are_meant(scope, meant):
    plugin = {"name": "pod-metadata", "config": {"annotations": {"x": "y"}}, "scope": scope}
    it = with_plugins(plugin, replicas=1, roles=[role("prefill"), role("decode", workers=1)])
    assert {pod.metadata.name.removeprefix("i-0-") for pod in it.pods() if pod.metadata.annotations} == meant


def test_each_is_given_what_the_one_before_it_made_and_nobody_changes_who_a_pod_is():
    mine = {"name": "renamed", "type": "Installed", "config": {"prefix": "at-"}}
    added = {"name": "pod-metadata", "config": {"labels": {"place": "nowhere", "tier": "gold"}}}
    it = with_plugins(mine, added, replicas=1)
    (pod,) = it.pods()
    assert pod.metadata.name == "i-0-server-0-0"
    assert pod.is_owned_by(it.infer)
    assert (pod.metadata.labels["place"], pod.metadata.labels["tier"]) == ("at-server-0-of-1", "gold")
    assert pod.metadata.labels["matrixinfer.ai/modelinfer"] == "i"


@pytest.mark.parametrize("strategy", [{}, {"type": "RoleRollingUpdate"}])
def test_a_change_of_the_plugins_is_rolled_out_to_whom_it_concerns(strategy):
    it = Rolling(replicas=1, roles=[role("prefill"), role("decode")], rolloutStrategy=strategy)
    it.settle()
    before = {pod.metadata.name: pod.metadata.uid for pod in it.pods()}
    it.write(plugins=[{"name": "lws-standard-labels", "scope": {"roles": ["decode"]}}])
    it.settle()
    anew = {pod.metadata.name for pod in it.pods() if pod.metadata.uid != before[pod.metadata.name]}
    assert anew == ({"i-0-decode-0-0"} if strategy else {"i-0-decode-0-0", "i-0-prefill-0-0"})


@pytest.mark.parametrize(
    ("plugin", "told"),
    [
        ({"name": "absent"}, "plugin absent of type Installed is not known to the handlers; known: broken, forgetful"),
        ({"name": "renamed"}, "plugin renamed: config.prefix: missing"),
        ({"name": "renamed", "config": {"prefix": "a", "x": 1}}, "plugin renamed: config.x: unknown field"),
        ({"name": "broken"}, "plugin broken failed: RuntimeError: out of order"),
        ({"name": "forgetful"}, "plugin forgetful returned NoneType; expected a Pod"),
    ],
)
def test_one_that_cannot_be_used_is_told_and_replaces_nothing(plugin, told):
    it = with_plugins()
    before = {pod.metadata.uid for pod in it.pods()}
    it.write(plugins=[plugin | {"type": "Installed"}])
    it.settle()
    progressing = it.condition("Progressing")
    assert (progressing.status, progressing.reason) == ("False", "BadPlugin")
    assert told in progressing.message
    assert {pod.metadata.uid for pod in it.pods()} == before
    it.world.report("i-0-server-0-0", phase="Failed")
    it.world.now += 60
    it.settle()
    assert len(it.ready()) == 2, "what comes again meanwhile comes from the former template"
    it.write(plugins=[])
    it.settle()
    assert it.condition("Progressing").reason == "Complete"


def test_with_one_that_cannot_be_used_from_the_start_nothing_is_made():
    it = with_plugins({"name": "absent", "type": "Installed"})
    assert it.pods() == []
    assert it.condition("Progressing").reason == "BadPlugin"
    it.world.plugins = {
        **it.world.plugins,
        ("Installed", "absent"): registry.BUILT_IN["BuiltIn", "lws-standard-labels"],
    }
    it.settle()
    assert len(it.ready()) == 2


def give(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    points = EntryPoints([EntryPoint(name="mine", value=value, group=registry.GROUP)])
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))


INSTALLED = Factory(NoConfig, broken)


def test_other_distributions_bring_more(monkeypatch):
    give(monkeypatch, f"{__name__}:INSTALLED")
    assert registry.installed() == {**registry.BUILT_IN, ("Installed", "mine"): INSTALLED}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("nowhere_to_be_found:X", "cannot be loaded"),
        (f"{__name__}:LWS", "expected a Factory, got str"),
    ],
)
def test_what_cannot_be_used_is_named(monkeypatch, value, told):
    give(monkeypatch, value)
    with pytest.raises(BadPodPlugin, match=f"entry point 'mine' .*{told}"):
        registry.installed()


def test_the_page_has_a_row_for_each_and_what_it_can_be_told():
    rows = dict(re.findall(r"^\| `([a-z-]+)` \|.*\|([^|]*)\|$", PAGE, re.MULTILINE))
    fields = {name: factory.config.model_fields for (_, name), factory in registry.BUILT_IN.items()}
    assert {name: cell.strip() for name, cell in rows.items()} == {
        name: ", ".join(f"`{field}`" for field in known) for name, known in fields.items()
    }


def test_the_example_of_the_page_changes_pods():
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    written: dict[str, Any] = {}  # Any: what a page defines
    exec(example, written)
    it = Rolling(replicas=1, plugins=[{"name": "mine", "type": "Installed", "config": {"tier": "silver"}}])
    it.world.plugins = {("Installed", "mine"): written["MINE"]}
    it.settle()
    assert it.pods()[0].metadata.labels["tier"] == "silver"
