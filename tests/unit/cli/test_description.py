"""What `describe` says."""

from __future__ import annotations

from typing import Any

from matrixinfer.cli.description import described

NOW = 1_800_000_100.0
THEN = "2027-01-15T08:00:00Z"


def an_object(kind: str, name: str, owner: str = "", **fields: Any) -> dict[str, Any]:
    """Any: parts of a manifest. Its uid is its name."""
    owners = [{"kind": "X", "name": owner, "uid": owner}] if owner else []
    metadata = {"name": name, "namespace": "default", "uid": name, "creationTimestamp": THEN, "ownerReferences": owners}
    return {"kind": kind, "metadata": metadata, "spec": {}, **fields}


def an_event(about: str, reason: str, message: str, **fields: Any) -> dict[str, Any]:
    target = {"kind": "Pod", "name": about, "uid": about}
    event = {"involvedObject": target, "reason": reason, "message": message, "lastTimestamp": THEN}
    return {"kind": "Event", "metadata": {"name": "e"}} | event | fields


def test_an_object_with_all_that_belongs_to_it_and_what_happened():
    ready = {"type": "Available", "status": "False", "reason": "GroupsNotReady", "message": "0 of 1 group ready"}
    model = an_object("Model", "m", status={"conditions": [ready | {"lastTransitionTime": THEN}]})
    family = [
        an_object("Pod", "m-a-0", "m-a", status={"phase": "Pending"}),
        an_object("ModelInfer", "m-a", "m"),
        an_object("Pod", "another", "n"),
    ]
    events = [
        an_event("m-a-0", "Failed", "out of memory", type="Warning", count=3),
        an_event("another", "Failed", "not of this model"),
    ]
    text = described(model | {"spec": {"name": "x"}}, family, events, NOW)
    assert text.splitlines() == [
        "Model default/m",
        "  uid m, generation 0, 100s old",
        "Spec:",
        "  name: x",
        "Conditions:",
        "  Available=False for 100s  GroupsNotReady: 0 of 1 group ready",
        "Belongs to it:",
        "  ModelInfer m-a  not looked at yet  100s",
        "    Pod m-a-0  Pending  100s",
        "Events:",
        "  ! 100s ago (3 times)  Pod m-a-0: Failed  out of memory",
    ]


def test_a_pod_group_tells_its_phase_and_what_it_needs():
    fields = {"spec": {"minMember": 3}, "status": {"phase": "Inqueue"}}
    family = [an_object("PodGroup", "i-0", "i", **fields), an_object("PodGroup", "i-1", "i")]
    text = described(an_object("ModelInfer", "i"), family, [], NOW)
    assert "  PodGroup i-0  Inqueue, 3 pods together or none  100s" in text
    assert "  PodGroup i-1  not scheduled yet, 0 pods together or none  100s" in text


def test_what_there_is_not_is_said_in_a_word():
    pod = an_object("Pod", "p", "m")
    pod["metadata"] |= {"labels": {"a": "b"}, "deletionTimestamp": THEN}
    text = described(pod, [], [], NOW)
    assert "  is being deleted since" in text
    assert "  belongs to X m" in text
    assert "  label a=b" in text
    assert text.splitlines()[-3:] == ["Conditions: none", "Belongs to it: none", "Events: none"]


def test_a_binding_tells_of_each_target_what_it_has_and_what_is_wanted():
    panics = {"role": "decode", "desiredReplicas": 4, "mode": "Panic", "lastScaleTime": THEN}
    targets = [{"name": "a", "currentReplicas": 0}, {"name": "b", "currentReplicas": 2} | panics]
    binding = an_object("AutoScalingPolicyBinding", "x", status={"targets": targets})
    lines = described(binding, [], [], NOW).splitlines()
    assert lines[lines.index("Targets:") + 1 : lines.index("Belongs to it: none")] == [
        "  a  0 replicas",
        "  b/decode  2 replicas, 4 wanted, scaled 100s ago, in panic",
    ]
    assert "Targets: none" in described(an_object("AutoScalingPolicyBinding", "x"), [], [], NOW)
    assert "Targets" not in described(an_object("Model", "x"), [], [], NOW)
