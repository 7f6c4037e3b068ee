"""For each rule that is about several fields: a manifest that keeps it, and one that does not."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

Manifest = dict[str, Any]


class Case(NamedTuple):
    """`message` is a part of what the rule says."""

    name: str
    good: Manifest
    bad: Manifest
    message: str


def _manifest(kind: str, spec: Manifest, name: str = "good") -> Manifest:
    return {
        "apiVersion": "matrixinfer.ai/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def _model(*backends: Manifest, name: str = "good") -> Manifest:
    return _manifest("Model", {"backends": [{"name": "a", "type": "Simulated"} | one for one in backends]}, name)


def _route(**spec: Any) -> Manifest:
    rules = [{"targetModels": [{"modelServerName": "m"}]}]
    return _manifest("ModelRoute", {"modelName": "m", "rules": rules} | spec)


TEMPLATE = {"spec": {"containers": [{"name": "c", "image": "i"}]}}


_ACTIONS = {
    "exec": {"command": ["true"]},
    "httpGet": {"port": "http"},
    "tcpSocket": {"port": 80},
    "grpc": {"port": 80},
    "sleep": {"seconds": 1},
}


def _asked(*actions: str, **more: Manifest) -> Manifest:
    probe = {action: _ACTIONS[action] for action in actions}
    container = {"name": "c", "image": "i"} | ({"readinessProbe": probe} if probe else {}) | more
    return _infer(roles=[{"entryTemplate": {"spec": {"containers": [container]}}}])


def _hooked(*actions: str) -> Manifest:
    return _asked(lifecycle={"preStop": {action: _ACTIONS[action] for action in actions}})


def _rule(**rule: Any) -> Manifest:
    return _route(rules=[{"targetModels": [{"modelServerName": "m"}]} | rule])


def _workers(*types: str, **more: Any) -> list[Manifest]:
    return [{"type": one} | more for one in types]


_SGLANG = {"type": "SGLang", "modelURI": "hf://org/m"}
_OPENAI = {"type": "OpenAI", "external": {"baseURL": "https://example.com/v1"}}
_LORA = [{"name": "l", "artifactURL": "hf://org/l"}]


def _infer(name: str = "good", roles: list[Manifest] | None = None, **spec: Any) -> Manifest:
    own = [{"name": "server", "entryTemplate": TEMPLATE} | role for role in roles or [{}]]
    return _manifest("ModelInfer", {"template": {"roles": own}} | spec, name)


def _gang(role: Manifest, **least: int) -> Manifest:
    roles = [{"name": "server", "entryTemplate": TEMPLATE} | role]
    return {"roles": roles, "gangPolicy": {"minRoleReplicas": least}}


def _policy(*metrics: Manifest, **behavior: Manifest) -> Manifest:
    own = [{"metricName": "waiting", "targetValue": 4} | one for one in metrics or [{}]]
    return _manifest("AutoScalingPolicy", {"metrics": own, "behavior": behavior})


def _binding(**spec: Any) -> Manifest:
    return _manifest("AutoScalingPolicyBinding", {"policyRef": {"name": "p"}} | spec)


def _scaling(**more: Any) -> Manifest:
    return _binding(scalingConfiguration={"target": {"targetRef": {"name": "i"}}, "maxReplicas": 2} | more)


def _optimizer(*roles: str | None, name: str = "i") -> Manifest:
    targets = [{"targetRef": {"name": name}} | ({"roleName": role} if role else {}) for role in roles]
    return _binding(optimizerConfiguration={"params": [{"target": target, "maxReplicas": 2} for target in targets]})


_LIMITS = {"minRatio": "0.5", "maxRatio": 2}


def _split(prefill: Manifest | None = None, decode: Manifest | None = None, **ratio: Any) -> Manifest:
    roles = {"prefill": {"maxReplicas": 2} | (prefill or {}), "decode": {"maxReplicas": 2} | (decode or {})}
    constraint = {"numeratorRole": "prefill", "denominatorRole": "decode"} | _LIMITS | ratio
    return _binding(
        disaggregatedConfiguration={"targetRef": {"name": "i"}, "roles": roles, "ratioConstraint": constraint}
    )


_LOAD = {"metricName": "load", "targetValue": "500m"}

CASES = [
    Case("bounds", _model({"maxReplicas": 1}), _model({"minReplicas": 2, "maxReplicas": 1}), "maxReplicas must be"),
    Case("weights", _model({"type": "LlamaCpp", "modelURI": "file:///m"}), _model({"type": "LlamaCpp"}), "modelURI"),
    Case("durations", _route(timeout="8760h"), _route(timeout="8760h1ms"), "a duration must be at most 8760h"),
    Case(
        "claims",
        _model(_SGLANG | {"modelURI": "pvc://a.b/m", "cacheURI": "pvc://c-1"}),
        _model(_SGLANG | {"modelURI": "pvc://a_b/m"}),
        "needs the name of a PersistentVolumeClaim",
    ),
    Case(
        "claims with long names",
        _model(_SGLANG | {"cacheURI": f"pvc://{'a' * 253}/m"}),
        _model(_SGLANG | {"cacheURI": f"pvc://{'a' * 254}/m"}),
        "needs the name of a PersistentVolumeClaim",
    ),
    Case("external", _model(_OPENAI), _model({"type": "OpenAI"}), "external is for backends of type OpenAI"),
    Case(
        "kinds of workers",
        _model({"workers": _workers("prefill", "decode")}),
        _model({"workers": _workers("server", "decode")}),
        "expected workers of one type server, or one of type prefill and one of type decode",
    ),
    Case(
        "engines that split",
        _model(_SGLANG | {"workers": _workers("prefill", "decode")}),
        _model(_OPENAI | {"workers": _workers("prefill", "decode")}),
        "prefill and decode workers are for",
    ),
    Case(
        "engines on several machines",
        _model(_SGLANG | {"workers": _workers("server", pods=2)}),
        _model({"workers": _workers("server", pods=2)}),
        "workers with several pods are for",
    ),
    Case(
        "engines with adapters", _model({"loraAdapters": _LORA}), _model(_OPENAI | {"loraAdapters": _LORA}),
        "loraAdapters are for",
    ),
    Case(
        "connectors", _model(_SGLANG | {"kvConnector": "lmcache"}), _model(_SGLANG | {"kvConnector": "nixl"}),
        "this kvConnector is none of the engine's",
    ),
    Case(
        "one policy",
        _manifest("Model", {"backends": [{"name": "a", "type": "Simulated"}], "autoscalingPolicy": "p"}),
        _manifest(
            "Model",
            {"backends": [{"name": "a", "type": "Simulated", "autoscalingPolicy": "p"}], "autoscalingPolicy": "p"},
        ),
        "not both",
    ),
    Case(
        "one way to compare",
        _rule(modelMatch={"headers": {"x-lane": {"prefix": "be"}}, "uri": {"exact": "/v1/completions"}}),
        _rule(modelMatch={"uri": {"exact": "/v1/completions", "regex": ".*"}}),
        "one of exact, prefix and regex",
    ),
    Case(
        "a limit", _route(rateLimit={"requestsPerUnit": 1}), _route(rateLimit={"unit": "day"}), "inputTokensPerUnit",
    ),
    Case("backends differ", _model({}, {"name": "b"}), _model({}, {}), "different names"),
    Case("dots", _model({}, name="a-b"), _model({}, name="a.b"), "must not contain '.'"),
    Case("child names", _model({}, name="m" * 38), _model({}, name="m" * 39), "names of the model and of"),
    Case(
        "weights of targets",
        _route(rules=[{"targetModels": [{"modelServerName": "m", "weight": 1}]}]),
        _route(rules=[{"targetModels": [{"modelServerName": "m", "weight": 0}]}]),
        "weight above 0",
    ),
    Case("a route's name", _route(modelName="", loraAdapters=["l"]), _route(modelName=""), "modelName or loraAdapters"),
    Case(
        "workers", _infer(roles=[{"workerReplicas": 1, "workerTemplate": TEMPLATE}]),
        _infer(roles=[{"workerReplicas": 1}]), "workerTemplate",
    ),
    Case("one action", _asked("httpGet"), _asked("httpGet", "exec"), "a probe has one of"),
    Case("one action of any", _asked("grpc"), _asked("tcpSocket", "grpc"), "a probe has one of"),
    Case("one deed", _hooked("sleep"), _hooked("sleep", "exec"), "a hook has one of"),
    Case("roles differ", _infer(roles=[{}, {"name": "b"}]), _infer(roles=[{}, {}]), "different names"),
    Case(
        "gang", _infer(template=_gang({"replicas": 2}, server=2)), _infer(template=_gang({"replicas": 2}, server=3)),
        "gangPolicy.minRoleReplicas must name roles",
    ),
    Case(
        "gang of roles", _infer(template=_gang({}, server=0)), _infer(template=_gang({}, nobody=0)),
        "gangPolicy.minRoleReplicas must name roles",
    ),
    Case(
        "built-in plug-ins",
        _infer(plugins=[{"name": "lws-standard-labels"}, {"name": "mine", "type": "Installed"}]),
        _infer(plugins=[{"name": "mine"}]),
        "a plugin of type BuiltIn must be one of lws-standard-labels, pod-metadata",
    ),
    Case(
        "scopes",
        _infer(plugins=[{"name": "pod-metadata", "scope": {"roles": ["server"]}}]),
        _infer(plugins=[{"name": "pod-metadata", "scope": {"roles": ["nobody"]}}]),
        "scope.roles of a plugin must name roles of the template",
    ),
    Case(
        "spread",
        _infer(topologySpreadConstraints=[{"topologyKey": "zone"}, {"topologyKey": "rack"}]),
        _infer(topologySpreadConstraints=[{"topologyKey": "zone"}, {"topologyKey": "zone", "maxSkew": 2}]),
        "topologySpreadConstraints must differ",
    ),
    Case(
        "names of services",
        _infer("a1", roles=[{"workerReplicas": 1, "workerTemplate": TEMPLATE}]),
        _infer("1a", roles=[{"workerReplicas": 1, "workerTemplate": TEMPLATE}]),
        "metadata.name must begin with a letter",
    ),
    Case("dots in groups", _infer("a-b"), _infer("a.b"), "'.'"),
    Case("pod names", _infer("i" * 50), _infer("i" * 51), "shorter"),
    Case(
        "order of whole groups",
        _infer(rolloutStrategy={"type": "RoleRollingUpdate", "roleOrder": ["server"]}),
        _infer(rolloutStrategy={"roleOrder": ["server"]}),
        "roleOrder is for type RoleRollingUpdate",
    ),
    Case(
        "order names once",
        _infer(rolloutStrategy={"type": "RoleRollingUpdate", "roleOrder": ["a", "b"]}),
        _infer(rolloutStrategy={"type": "RoleRollingUpdate", "roleOrder": ["a", "a"]}),
        "once",
    ),
    Case(
        "back-off", _infer(recovery={"backoff": "1m", "maxBackoff": "1m"}),
        _infer(recovery={"backoff": "6m"}), "maxBackoff",
    ),
    Case(
        "a wanted value", _policy({"targetValue": "500m"}), _policy({"targetValue": "0m"}),
        "targetValue must be more than 0",
    ),
    Case("a whole wanted value", _policy({}), _policy({"targetValue": 0}), "targetValue must be more than 0"),
    Case("different metrics", _policy({}, _LOAD), _policy({}, {}), "metrics must have different"),
    Case(
        "periods", _policy(scaleDown={"period": "30m"}), _policy(scaleDown={"period": "30m1ms"}),
        "must be at most 30m",
    ),
    Case(
        "windows", _policy(scaleUp={"stablePolicy": {"stabilizationWindow": "0.5h"}}),
        _policy(scaleUp={"stablePolicy": {"stabilizationWindow": "0.6h"}}), "must be at most 30m",
    ),
    Case(
        "panics", _policy(scaleUp={"panicPolicy": {"panicModeHold": "0s"}}),
        _policy(scaleUp={"panicPolicy": {"panicModeHold": "1h"}}), "panicModeHold must be at most 30m",
    ),
    Case(
        "one configuration", _scaling(),
        _binding(**_scaling()["spec"] | _optimizer(None)["spec"]),
        "one of scalingConfiguration",
    ),
    Case("a configuration", _optimizer(None), _binding(), "one of scalingConfiguration"),
    Case(
        "bounds of replicas", _scaling(minReplicas=2), _scaling(minReplicas=3),
        "maxReplicas must be at least minReplicas",
    ),
    Case(
        "bounds of roles", _split({"minReplicas": 2}), _split({"minReplicas": 3}),
        "maxReplicas must be at least minReplicas",
    ),
    Case("different targets", _optimizer("a", "b"), _optimizer("a", "a"), "params must have different"),
    Case("groups and roles", _optimizer("b", "a"), _optimizer("a", None), "params must have different"),
    Case(
        "one source",
        _scaling(target={"targetRef": {"name": "i"}, "metricSources": {"waiting": {"pod": {}}}}),
        _scaling(target={"targetRef": {"name": "i"}, "metricSources": {"waiting": {}}}),
        "one of pod and prometheus",
    ),
    Case(
        "metrics of roles", _split({"metrics": [_LOAD]}), _split({"metrics": [_LOAD, _LOAD]}),
        "metrics must have different",
    ),
    Case("ratio of two", _split(), _split(denominatorRole="prefill"), "must be different roles"),
    Case("order of ratios", _split(minRatio=2), _split(minRatio="2001m"), "maxRatio must be at least minRatio"),
    Case("known roles", _split(), _split(denominatorRole="other"), "ratioConstraint must be about two of the roles"),
    Case(
        "zero for both", _split({"minReplicas": 0}, {"minReplicas": 0}), _split({"minReplicas": 0}),
        "either both roles of",
    ),
    Case(
        "ratio too low",
        _split(decode={"minReplicas": 2}, minRatio=1),
        _split(decode={"minReplicas": 2}, minRatio="1.5"),
        "ratioConstraint cannot be kept",
    ),
    Case(
        "ratio too high",
        _split({"minReplicas": 2, "maxReplicas": 4}, maxRatio=1),
        _split({"minReplicas": 3, "maxReplicas": 4}, maxRatio=1),
        "ratioConstraint cannot be kept",
    ),
    Case(
        "ratios that are no binary fractions",
        _split({"minReplicas": 1, "maxReplicas": 3}, {"minReplicas": 10, "maxReplicas": 10}, minRatio="300m"),
        _split({"minReplicas": 1, "maxReplicas": 3}, {"minReplicas": 10, "maxReplicas": 10}, minRatio="301m"),
        "ratioConstraint cannot be kept",
    ),
]  # fmt: skip


def cases() -> list[Case]:
    """Copies: whoever takes one may change it."""
    return copy.deepcopy(CASES)
