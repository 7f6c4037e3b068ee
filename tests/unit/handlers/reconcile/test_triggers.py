"""Whom a change concerns."""

from __future__ import annotations

from matrixinfer.handlers.api.autoscalingpolicy import AutoScalingPolicy
from matrixinfer.handlers.api.autoscalingpolicybinding import AutoScalingPolicyBinding
from matrixinfer.handlers.api.container import Container
from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.api.meta import Metadata, OwnerReference
from matrixinfer.handlers.api.modelinfer import ModelInfer
from matrixinfer.handlers.api.modelroute import ModelRoute
from matrixinfer.handlers.api.modelserver import ModelServer, ModelServerStatus
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.podgroup import PodGroup
from matrixinfer.handlers.api.podspec import PodSpec
from matrixinfer.handlers.api.service import Service, ServiceSpec
from matrixinfer.handlers.cluster.port import ObjectChange
from matrixinfer.handlers.reconcile.triggers import Key, around_bindings, concerned, concerned_by_name_or_label


def server(name: str, namespace: str = "default", **labels: str) -> ModelServer:
    return ModelServer.read(
        {
            "metadata": {"name": name, "namespace": namespace, "generation": 1},
            "spec": {"inferenceEngine": "Simulated", "workloadSelector": {"matchLabels": labels}},
        }
    )


def route(name: str, model: str, target: str, namespace: str = "default") -> ModelRoute:
    text = f"""
    apiVersion: matrixinfer.ai/v1alpha1
    kind: ModelRoute
    metadata: {{name: {name}, namespace: {namespace}}}
    spec: {{modelName: {model}, rules: [{{targetModels: [{{modelServerName: {target}}}]}}]}}
    """
    (parsed,) = parse_manifests(text)
    assert isinstance(parsed, ModelRoute)
    return parsed


def pod(**labels: str) -> Pod:
    owner = OwnerReference(api_version="x", kind="ModelInfer", name="i", uid="u", controller=True)
    metadata = Metadata(name="p", labels=labels, owner_references=(owner,))
    return Pod(metadata=metadata, spec=PodSpec(containers=(Container(name="c"),)))


def binding(name: str, policy: str, target: str, role: str | None = None, namespace: str = "default"):
    wanted = {"targetRef": {"name": target}} | ({"roleName": role} if role else {})
    return AutoScalingPolicyBinding.read(
        {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"policyRef": {"name": policy}, "scalingConfiguration": {"target": wanted, "maxReplicas": 2}},
        }
    )


def names(keys: set[Key]) -> set[str]:
    return {f"{key.kind}/{key.name}" for key in keys}


def test_a_pod_concerns_its_owner_and_every_pool_that_selects_it_before_or_after():
    change = ObjectChange(pod(app="x"), pod(app="y"))
    pools = [server("old", app="x"), server("new", app="y"), server("far", "elsewhere", app="x"), server("no", app="z")]
    assert names(concerned(change)) == {"ModelInfer/i"}
    assert names(concerned_by_name_or_label(change, pools, [])) == {"ModelServer/old", "ModelServer/new"}


def test_a_pod_that_went_concerns_the_same():
    change = ObjectChange(pod(app="x"), None)
    assert names(concerned(change)) == {"ModelInfer/i"}
    assert names(concerned_by_name_or_label(change, [server("s", app="x")], [])) == {"ModelServer/s"}


def test_a_status_concerns_the_owner_and_not_the_object():
    before = server("s", app="x")
    after = before.model_copy(update={"status": ModelServerStatus(pods=1)})
    assert concerned(ObjectChange(before, after)) == set()
    assert names(concerned(ObjectChange(None, after))) == {"ModelServer/s"}


def test_a_modelserver_concerns_rivals_for_its_pods_and_routes_that_lead_to_it():
    change = ObjectChange(None, server("s", app="x"))
    pools = [server("rival", tier="gold"), server("apart", app="y"), server("far", "elsewhere", app="x")]
    routes = [route("r", "m", "s"), route("q", "n", "other"), route("t", "m", "s", "elsewhere")]
    assert names(concerned_by_name_or_label(change, pools, routes)) == {"ModelServer/rival", "ModelRoute/r"}


def test_a_route_concerns_all_that_share_a_name_it_had_or_has():
    change = ObjectChange(route("r", "old", "s"), route("r", "new", "s"))
    routes = [route("a", "old", "s"), route("b", "new", "s", "elsewhere"), route("c", "third", "s")]
    assert names(concerned_by_name_or_label(change, [], routes)) == {"ModelRoute/a", "ModelRoute/b"}


def test_what_stands_beside_pods_concerns_its_owner_when_somebody_changes_or_deletes_it():
    own = pod().metadata
    before = Service(metadata=own)
    changed = Service(metadata=own, spec=ServiceSpec(selector={"app": "x"}))
    assert names(concerned(ObjectChange(before, changed))) == {"ModelInfer/i"}, "a Service has no generation"
    assert names(concerned(ObjectChange(before, None))) == {"ModelInfer/i"}
    assert names(concerned(ObjectChange(None, before))) == {"ModelInfer/i"}


def test_the_status_that_others_write_concerns_nobody():
    before = PodGroup(metadata=pod().metadata)
    after = before.model_copy(update={"metadata": before.metadata.model_copy(update={"resource_version": "2"})})
    assert concerned(ObjectChange(before, after)) == set()


def test_a_policy_concerns_the_bindings_that_name_it():
    metrics = [{"metricName": "waiting", "targetValue": 4}]
    policy = AutoScalingPolicy.read({"metadata": {"name": "p"}, "spec": {"metrics": metrics}})
    bindings = [binding("a", "p", "x"), binding("b", "q", "x"), binding("far", "p", "x", namespace="elsewhere")]
    for change in (ObjectChange(None, policy), ObjectChange(policy, None)):
        assert names(around_bindings(change, bindings)) == {"AutoScalingPolicyBinding/a"}


def test_a_modelinfer_concerns_the_bindings_that_scale_it_or_a_role_of_it():
    template = {"roles": [{"name": "r", "entryTemplate": {"spec": {"containers": [{"name": "c"}]}}}]}
    infer = ModelInfer.read({"metadata": {"name": "x"}, "spec": {"template": template}})
    bindings = [
        binding("groups", "p", "x"),
        binding("role", "p", "x", "r"),
        binding("other", "p", "y"),
        binding("far", "p", "x", namespace="elsewhere"),
    ]
    concerned_ones = names(around_bindings(ObjectChange(infer, infer), bindings))
    assert concerned_ones == {"AutoScalingPolicyBinding/groups", "AutoScalingPolicyBinding/role"}


def test_a_binding_concerns_its_policies_and_its_rivals_before_and_after():
    change = ObjectChange(binding("b", "old", "x"), binding("b", "new", "y", "r"))
    bindings = [
        binding("group-rival", "p", "x", "any"),
        binding("same-role", "p", "y", "r"),
        binding("other-role", "p", "y", "s"),
        binding("far", "p", "x", namespace="elsewhere"),
    ]
    assert names(around_bindings(change, bindings)) == {
        "AutoScalingPolicy/old",
        "AutoScalingPolicy/new",
        "AutoScalingPolicyBinding/group-rival",
        "AutoScalingPolicyBinding/same-role",
    }


def test_what_is_no_matter_of_scaling_concerns_no_binding():
    change = ObjectChange(None, server("x", app="x"))
    assert around_bindings(change, [binding("b", "p", "x")]) == set()
