"""What `scale` and `rollout` say and change."""

from __future__ import annotations

from typing import Any

import pytest

from matrixinfer.cli.errors import CliError
from matrixinfer.cli.rollout import chosen, held, progress_of, undone
from matrixinfer.cli.scale import with_groups, with_replicas
from matrixinfer.cli.targets import Target, check_free, read_target

INFER = Target("ModelInfer", "i")


def an_infer(**status: Any) -> dict[str, Any]:
    """Any: fields of a status."""
    full = {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2} | status
    roles = [{"name": "prefill", "replicas": 3}, {"name": "decode"}]
    spec = {"replicas": 2, "template": {"roles": roles}}
    return {"metadata": {"name": "i", "generation": 2}, "spec": spec, "status": full}


def condition(type: str, status: str, reason: str, message: str = "why") -> dict[str, str]:
    return {"type": type, "status": status, "reason": reason, "message": message}


COMPLETE = condition("Progressing", "False", "Complete")


@pytest.mark.parametrize(
    ("status", "state", "told"),
    [
        ({"conditions": [COMPLETE]}, "done", "i: 2 of 2 groups up to date, 2 ready"),
        ({"observedGeneration": 1}, "going", "has not been looked at"),
        ({"availableReplicas": 1, "conditions": [COMPLETE]}, "going", "1 ready"),
        (
            {"conditions": [COMPLETE, condition("UpdateInProgress", "True", "Replacing")]},
            "going",
            "2 of 2 groups up to date",
        ),
        ({"conditions": [COMPLETE, condition("UpdateInProgress", "False", "Paused", "held")]}, "stuck", "held"),
        ({"conditions": [COMPLETE, condition("Degraded", "True", "CrashLoop", "fails")]}, "stuck", "fails"),
        ({"conditions": [condition("Progressing", "True", "PodsChanging", "waiting for 1 pod")]}, "going", "1 pod"),
    ],
)
def test_a_rollout_is_done_going_or_stuck(status, state, told):
    found = progress_of(an_infer(**status))
    assert found[0] == state
    assert told in found[1]


def test_a_target_is_a_kind_and_a_name():
    assert read_target("mi/x") == Target("ModelInfer", "x")
    assert read_target("Model/a.b") == Target("Model", "a.b")
    for wrong in ("x", "pod/x", "model/", "/x"):
        with pytest.raises(CliError, match="expected model/NAME or modelinfer/NAME"):
            read_target(wrong)


def test_what_a_model_made_is_changed_at_the_model():
    owned = {"metadata": {"name": "m-a", "ownerReferences": [{"kind": "Model", "name": "m", "controller": True}]}}
    with pytest.raises(CliError, match="modelinfer/m-a is what Model m wants it to be: scale that"):
        check_free(owned, "scale that")
    check_free(an_infer(), "")


def test_groups_and_roles_are_scaled_and_all_else_stays():
    infer = an_infer()
    assert with_groups(infer, 5, "")["spec"] == infer["spec"] | {"replicas": 5}
    roles = with_groups(infer, 0, "decode")["spec"]["template"]["roles"]
    assert roles == [{"name": "prefill", "replicas": 3}, {"name": "decode", "replicas": 0}]
    with pytest.raises(CliError, match="no role 'x'; expected one of prefill, decode"):
        with_groups(infer, 1, "x")


def test_a_model_is_scaled_by_backend_and_never_above_its_own_bound():
    one = {"spec": {"backends": [{"name": "a", "minReplicas": 1, "maxReplicas": 2}]}}
    assert with_replicas(one, 3, "")["spec"]["backends"] == [{"name": "a", "minReplicas": 3, "maxReplicas": 3}]
    two = {"spec": {"backends": [{"name": "a"}, {"name": "b"}]}}
    assert with_replicas(two, 3, "b")["spec"]["backends"] == [{"name": "a"}, {"name": "b", "minReplicas": 3}]
    with pytest.raises(CliError, match="say which with --backend, one of a, b"):
        with_replicas(two, 3, "")


def test_pausing_keeps_the_rest_of_the_strategy():
    assert held({"name": "a"}, True)["rolloutStrategy"] == {"paused": True}
    strategy = {"type": "RoleRollingUpdate", "paused": True}
    assert held({"rolloutStrategy": strategy}, False)["rolloutStrategy"] == strategy | {"paused": False}


def records(*numbers: int) -> list[dict[str, Any]]:
    return [{"revision": number} for number in numbers]


def test_the_way_back_is_the_one_before_or_the_one_that_is_named():
    assert chosen(records(3, 5, 8), None, INFER) == {"revision": 5}
    assert chosen(records(3, 5, 8), 3, INFER) == {"revision": 3}
    with pytest.raises(CliError, match="has no revision 4; kept are 3, 5"):
        chosen(records(3, 5), 4, INFER)
    with pytest.raises(CliError, match="has had no other template"):
        chosen(records(3), None, INFER)


def test_going_back_keeps_how_many_replicas_there_are_now():
    former = {"roles": [{"name": "prefill", "replicas": 1, "old": True}, {"name": "gone", "replicas": 7}]}
    back = undone(an_infer(), {"data": {"template": former}})
    roles = [{"name": "prefill", "replicas": 3, "old": True}, {"name": "gone", "replicas": 7}]
    assert back["spec"]["template"]["roles"] == roles
    assert back["spec"]["replicas"] == 2


def test_going_back_brings_what_stands_beside_the_template_and_leaves_what_only_says_when_to_act():
    infer = an_infer()
    now = {"gangPolicy": {"minRoleReplicas": {"prefill": 2}}, "networkTopology": {"groupPolicy": {}}}
    spec = infer["spec"] | {"schedulerName": "two", "plugins": [{"name": "new"}]}
    infer = infer | {"spec": spec | {"template": spec["template"] | now}}
    former = {"template": {"roles": [{"name": "prefill"}]}, "plugins": [{"name": "old"}]}
    back = undone(infer, {"data": former})["spec"]
    assert back["plugins"] == [{"name": "old"}]
    assert "schedulerName" not in back
    roles = [{"name": "prefill", "replicas": 3}]
    assert back["template"] == {"roles": roles, "gangPolicy": {"minRoleReplicas": {"prefill": 2}}}
