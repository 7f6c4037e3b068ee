"""What stands beside the Pods of a group: names for its instances, and what Volcano is told."""

from __future__ import annotations

from typing import Any

import pytest

from matrixinfer.handlers.api.meta import Metadata
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.podgroup import PodGroup, PodGroupSpec
from matrixinfer.handlers.api.service import Service
from support.rolling import Rolling, role

SPLIT = [role("prefill", replicas=2), role("decode", workers=1)]


def resources(body: dict[str, Any], **requests: str) -> dict[str, Any]:
    """Any: a role of a manifest; each of its containers asks for that much."""
    for name in ("entryTemplate", "workerTemplate"):
        if name in body:
            (container,) = body[name]["spec"]["containers"]
            body[name]["spec"]["containers"] = [container | {"resources": {"requests": requests}}]
    return body


def on_volcano(**spec: Any) -> Rolling:
    it = Rolling(schedulerName="volcano", **spec)
    it.world.serves_pod_groups = True
    it.settle()
    return it


def group(it: Rolling, name: str = "i-0") -> dict[str, Any]:
    spec: dict[str, Any] = it.world.one(PodGroup, name).to_json()["spec"]
    return spec


# -- Services
def test_an_instance_with_workers_has_a_name_before_its_pods_and_one_without_has_none():
    it = Rolling(replicas=1, roles=SPLIT)
    applied = [(one.kind, one.metadata.name) for one in it.world.decide(it.infer).applies]
    assert applied.index(("Service", "i-0-decode-0-0")) < applied.index(("Pod", "i-0-decode-0-0"))
    it.settle()
    (service,) = it.world.all(Service)
    assert service.metadata.name == "i-0-decode-0-0"
    assert service.is_owned_by(it.infer)
    assert (service.spec.cluster_ip, service.spec.publish_not_ready_addresses) == ("None", True)
    chosen = [pod.metadata.name for pod in it.pods() if service.spec.selector.items() <= pod.metadata.labels.items()]
    assert chosen == ["i-0-decode-0-0"]


def test_the_pods_of_such_an_instance_are_hosts_below_the_service():
    it = Rolling(replicas=1, roles=SPLIT)
    it.settle()
    hosts = {pod.metadata.name: (pod.spec.hostname, pod.spec.subdomain) for pod in it.pods()}
    assert hosts == {
        "i-0-decode-0-0": ("i-0-decode-0-0", "i-0-decode-0-0"),
        "i-0-decode-0-1": ("i-0-decode-0-1", "i-0-decode-0-0"),
        "i-0-prefill-0-0": ("", ""),
        "i-0-prefill-1-0": ("", ""),
    }
    (container,) = it.world.one(Pod, "i-0-decode-0-1").spec.containers
    assert ("ENTRY_ADDRESS", "i-0-decode-0-0.default") in [(one.name, one.value) for one in container.env]


def test_a_service_goes_when_its_instance_is_gone_and_comes_again_when_somebody_deletes_it():
    it = Rolling(replicas=2, roles=SPLIT)
    it.settle()
    assert it.world.names(Service) == ["i-0-decode-0-0", "i-1-decode-0-0"]
    it.write(replicas=1)
    it.look()
    it.look()
    assert it.world.names(Service) == ["i-0-decode-0-0", "i-1-decode-0-0"], "its pods drain still"
    it.settle()
    assert it.world.names(Service) == ["i-0-decode-0-0"]
    it.world.remove(Service, "i-0-decode-0-0")
    it.look()
    assert it.world.names(Service) == ["i-0-decode-0-0"]


def test_an_instance_that_has_no_workers_any_more_loses_its_name_with_its_last_pod_below_it():
    it = Rolling(replicas=1, roles=SPLIT)
    it.settle()
    it.write(roles=[role("prefill", replicas=2), role("decode")])
    it.look()
    assert it.world.names(Service) == ["i-0-decode-0-0"]
    it.settle()
    assert it.names() == ["i-0-decode-0-0", "i-0-prefill-0-0", "i-0-prefill-1-0"]
    assert it.world.names(Service) == []


def test_a_service_that_somebody_changed_is_put_right():
    it = Rolling(replicas=1, roles=SPLIT)
    it.settle()
    service = it.world.one(Service, "i-0-decode-0-0")
    it.world.put(service.model_copy(update={"spec": service.spec.model_copy(update={"selector": {"app": "x"}})}))
    it.look()
    assert it.world.one(Service, "i-0-decode-0-0").spec == service.spec


def test_somebody_elses_service_is_left_alone_and_its_instance_is_not_made():
    it = Rolling(replicas=1, roles=SPLIT)
    it.world.put(Service(metadata=Metadata(name="i-0-decode-0-0")))
    it.settle()
    assert it.names() == ["i-0-prefill-0-0", "i-0-prefill-1-0"]
    assert it.condition("Progressing").reason == "NameTaken"
    assert "i-0-decode-0-0" in it.condition("Progressing").message
    assert it.world.one(Service, "i-0-decode-0-0").spec.cluster_ip == ""


# -- PodGroups
def test_a_pod_group_asks_for_the_whole_group_and_what_its_pods_ask_for():
    roles = [
        resources(role("prefill", replicas=2), cpu="500m", **{"nvidia.com/gpu": "1"}),
        resources(role("decode", workers=1), memory="16Gi"),
    ]
    it = on_volcano(replicas=2, roles=roles)
    assert it.world.names(PodGroup) == ["i-0", "i-1"]
    assert it.world.one(PodGroup, "i-0").is_owned_by(it.infer)
    assert group(it) == {
        "minMember": 4,
        "minResources": {"cpu": "1", "memory": str(32 * 2**30), "nvidia.com/gpu": "2"},
    }


def test_its_pods_name_their_group_and_task_and_are_scheduled_by_volcano():
    it = on_volcano(replicas=1, roles=SPLIT)
    pod = it.world.one(Pod, "i-0-prefill-1-0")
    assert pod.spec.scheduler_name == "volcano"
    assert pod.metadata.annotations == {
        "scheduling.k8s.io/group-name": "i-0",
        "volcano.sh/task-spec": "prefill-1",
    }


def test_a_minimum_below_the_whole_and_topology_make_sub_groups():
    template = {
        "roles": SPLIT,
        "gangPolicy": {"minRoleReplicas": {"prefill": 1}},
        "networkTopology": {"groupPolicy": {"mode": "soft"}, "rolePolicy": {"highestTierAllowed": 2}},
    }
    it = on_volcano(replicas=1, template=template)
    selector = {"matrixinfer.ai/modelinfer": "i"}
    assert group(it) == {
        "minMember": 3,
        "networkTopology": {"mode": "soft"},
        "subGroupPolicy": [
            {
                "name": name,
                "labelSelector": {"matchLabels": selector | {"matrixinfer.ai/role": name}},
                "matchLabelKeys": ["matrixinfer.ai/role-index"],
                "subGroupSize": size,
                "minSubGroups": 1,
                "networkTopology": {"highestTierAllowed": 2},
            }
            for name, size in (("prefill", 1), ("decode", 2))
        ],
    }


def filled_in(it: Rolling) -> None:
    """As Volcano does with what is not said."""
    present = it.world.one(PodGroup, "i-0")
    tier = {"networkTopology": {"highestTierAllowed": 1}}
    spec = PodGroupSpec.model_validate(present.spec.model_dump(by_alias=True) | {"queue": "default"} | tier)
    it.world.put(present.model_copy(update={"spec": spec}))


def test_what_volcano_fills_in_stays_until_something_else_is_said():
    topology: dict[str, dict[str, str]] = {"groupPolicy": {}}
    it = on_volcano(replicas=1, template={"roles": [role()], "networkTopology": topology})
    filled_in(it)
    assert it.world.decide(it.infer).is_empty
    it.write(template={"roles": [role()]})
    it.settle()
    assert group(it) == {"minMember": 1}
    filled_in(it)
    infer = it.infer
    marked = infer.metadata.model_copy(update={"annotations": {"scheduling.volcano.sh/queue-name": "gold"}})
    it.world.put(infer.model_copy(update={"metadata": marked}))
    it.look()
    assert group(it)["queue"] == "gold"


def test_scaling_changes_the_pod_group_and_replaces_no_pod():
    it = on_volcano(replicas=1, roles=SPLIT)
    uids = {pod.metadata.uid for pod in it.pods()}
    it.write(roles=[role("prefill", replicas=3), role("decode", workers=1)])
    it.settle()
    assert group(it)["minMember"] == 5
    assert uids < {pod.metadata.uid for pod in it.pods()}


def test_a_pod_group_stays_while_pods_name_it():
    it = on_volcano(replicas=2)
    it.write(replicas=1)
    it.look()
    assert it.world.names(PodGroup) == ["i-0", "i-1"]
    it.settle()
    assert it.world.names(PodGroup) == ["i-0"]
    it.write(schedulerName="")
    it.settle()
    assert it.world.names(PodGroup) == []
    assert it.pods()[0].metadata.annotations == {}


@pytest.mark.parametrize(("scheduler", "served"), [("volcano", False), ("", True), ("mine", True)])
def test_without_volcano_there_is_no_pod_group(scheduler, served):
    it = Rolling(replicas=1, schedulerName=scheduler)
    it.world.serves_pod_groups = served
    it.settle()
    assert it.world.names(PodGroup) == []
    assert it.pods()[0].spec.scheduler_name == scheduler


def test_somebody_elses_pod_group_is_left_alone():
    it = Rolling(replicas=1, schedulerName="volcano")
    it.world.serves_pod_groups = True
    it.world.put(PodGroup(metadata=Metadata(name="i-0")))
    it.settle()
    assert it.pods() == []
    assert it.condition("Progressing").reason == "NameTaken"


# -- topology
def test_constraints_of_the_spec_count_the_pods_of_the_model_infer_and_those_of_a_template_come_first():
    own = {"topologyKey": "zone", "maxSkew": 3, "labelSelector": {"matchLabels": {"a": "b"}}}
    server = role()
    server["entryTemplate"]["spec"]["topologySpreadConstraints"] = [own]
    more = [{"topologyKey": "zone"}, {"topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway"}]
    it = Rolling(replicas=1, roles=[server], topologySpreadConstraints=more)
    it.settle()
    (pod,) = it.pods()
    first, second = pod.to_json()["spec"]["topologySpreadConstraints"]
    assert first == own
    assert second == more[1] | {"labelSelector": {"matchLabels": {"matrixinfer.ai/modelinfer": "i"}}}


@pytest.mark.parametrize(
    "change",
    [
        {"schedulerName": "mine"},
        {"topologySpreadConstraints": [{"topologyKey": "zone"}]},
        {"template": {"roles": [role()], "networkTopology": {"groupPolicy": {}, "rolePolicy": {}}}},
    ],
)
@pytest.mark.parametrize("strategy", [{}, {"type": "RoleRollingUpdate"}])
def test_what_pods_are_made_from_is_rolled_out_wherever_it_stands(change, strategy):
    it = Rolling(replicas=1, rolloutStrategy=strategy)
    it.settle()
    before = it.pods()[0].metadata.uid
    it.write(**change)
    it.settle()
    assert it.pods()[0].metadata.uid != before
    assert it.condition("UpdateInProgress").reason == "UpToDate"


def test_what_only_says_when_to_act_replaces_nothing():
    it = Rolling(replicas=1)
    it.settle()
    before = it.pods()[0].metadata.uid
    template = {"roles": [role()], "gangPolicy": {}, "restartGracePeriodSeconds": 5}
    it.write(template=template)
    it.settle()
    assert it.pods()[0].metadata.uid == before


def test_a_revision_brings_back_what_stands_beside_the_template():
    it = Rolling(replicas=2, schedulerName="one", update={"partition": 1})
    it.settle()
    it.write(schedulerName="two")
    it.settle()
    assert [pod.spec.scheduler_name for pod in it.pods()] == ["one", "two"]
    it.world.report("i-0-server-0-0", phase="Failed")
    it.world.now += 60
    it.settle()
    assert [pod.spec.scheduler_name for pod in it.pods()] == ["one", "two"]
