"""What the node reports, as people and controllers read it."""

from __future__ import annotations

from typing import Any

from matrixinfer.agents.node.backoff import Backoff
from matrixinfer.agents.node.pods import ContainerId, read_pod
from matrixinfer.agents.node.states import ContainerState, Process, ended, failed_to_start, first_life, replace_state
from matrixinfer.agents.node.status import pod_status, refusal_status
from matrixinfer.handlers.api.pod import Pod as PodResource

NOW = 1_700_000_000.0
STARTED = first_life("u1", "life", 30.0, NOW - 10.0)
RUNNING = replace_state(STARTED, process=Process(4711, NOW - 10.0))


def status_of(
    document: dict[str, Any], state: ContainerState | None, is_ready: bool = False, now: float = NOW
) -> dict[str, Any]:
    pod = read_pod(document)
    states = {ContainerId(pod.id, "main"): state} if state else {}
    return pod_status(pod, states, is_ready, Backoff(), now)


def ready_condition(status: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in status["conditions"] if one["type"] == "Ready")


def test_a_pod_whose_container_never_ran_is_pending(pod_document) -> None:
    status = status_of(pod_document(), None)
    assert status["phase"] == "Pending"
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}


def test_a_running_pod_tells_since_when_and_whether_it_is_ready(pod_document) -> None:
    status = status_of(pod_document(), RUNNING, is_ready=True)
    assert status["phase"] == "Running"
    assert ready_condition(status)["status"] == "True"
    container = status["containerStatuses"][0]
    assert container["ready"]
    assert container["state"] == {"running": {"startedAt": "2023-11-14T22:13:10Z"}}


def test_a_crash_shows_as_back_off_with_code_and_time(pod_document) -> None:
    status = status_of(pod_document(), ended(RUNNING, -9, NOW))
    waiting = status["containerStatuses"][0]["state"]["waiting"]
    assert status["phase"] == "Running"
    assert waiting["reason"] == "CrashLoopBackOff"
    assert "code 137" in waiting["message"]
    assert "22:13:21" in waiting["message"]


def test_a_program_that_is_not_there_shows_what_the_system_said(pod_document) -> None:
    status = status_of(pod_document(), failed_to_start(STARTED, "cannot execute 'nothing'", NOW))
    waiting = status["containerStatuses"][0]["state"]["waiting"]
    assert waiting["reason"] == "CreateContainerError"
    assert "cannot execute 'nothing'" in waiting["message"]


def test_a_pod_that_is_not_restarted_succeeds_or_fails(pod_document) -> None:
    document = pod_document(restartPolicy="Never")
    assert status_of(document, ended(RUNNING, 0, NOW))["phase"] == "Succeeded"
    assert status_of(document, ended(RUNNING, 3, NOW))["phase"] == "Failed"


def test_a_condition_keeps_the_time_of_its_last_change(pod_document) -> None:
    document = pod_document()
    document["status"] = status_of(document, RUNNING, is_ready=False, now=NOW)
    later = status_of(document, RUNNING, is_ready=False, now=NOW + 100.0)
    changed = status_of(document, RUNNING, is_ready=True, now=NOW + 100.0)
    assert later == document["status"]
    assert ready_condition(changed)["lastTransitionTime"] > ready_condition(later)["lastTransitionTime"]


def test_controllers_can_read_every_status(pod_document) -> None:
    states = [None, RUNNING, ended(RUNNING, 1, NOW), failed_to_start(STARTED, "no", NOW)]
    for state in states:
        document = pod_document()
        document["status"] = status_of(document, state, is_ready=state is RUNNING)
        assert PodResource.read(document).is_ready == (state is RUNNING)
    refused = pod_document()
    refused["status"] = refusal_status(refused, "no command", NOW)
    assert PodResource.read(refused).has_ended
