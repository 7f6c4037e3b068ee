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


CASES = [
    Case("bounds", _model({"maxReplicas": 1}), _model({"minReplicas": 2, "maxReplicas": 1}), "maxReplicas must be"),
    Case("weights", _model({"type": "LlamaCpp", "modelURI": "file:///m"}), _model({"type": "LlamaCpp"}), "modelURI"),
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
]  # fmt: skip


def cases() -> list[Case]:
    """Copies: whoever takes one may change it."""
    return copy.deepcopy(CASES)
