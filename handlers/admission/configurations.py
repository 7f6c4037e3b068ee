"""The webhook configurations: which objects the API server asks about, whom it asks, and what happens when nobody
answers. Pure."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from matrixinfer.handlers.api.meta import GROUP_VERSION
from matrixinfer.handlers.api.registry import KINDS

Body = dict[str, Any]
MUTATE, VALIDATE = "/mutate", "/validate"
_ROOT = "/apis/admissionregistration.k8s.io/v1"
COLLECTIONS = (f"{_ROOT}/mutatingwebhookconfigurations", f"{_ROOT}/validatingwebhookconfigurations")
GROUP, _, VERSION = GROUP_VERSION.partition("/")


@dataclass(frozen=True)
class Wanted:
    """`url` is for an API server outside the cluster, and then `service` and `namespace` mean nothing. `issuer` is
    cert-manager's `namespace/certificate`. `bundle`, in PEM, is whom to trust; without it and an issuer, the handlers
    say it themselves."""

    name: str = "matrixinfer"
    namespace: str = "matrixinfer"
    service: str = "matrixinfer-admission"
    port: int = 443
    url: str = ""
    issuer: str = ""
    bundle: bytes = b""
    failure_policy: str = "Fail"
    timeout_s: int = 5


def configurations(wanted: Wanted) -> list[Body]:
    """The mutating one first, as it is asked first."""
    metadata: Body = {"name": wanted.name}
    if wanted.issuer:
        metadata |= {"annotations": {"cert-manager.io/inject-ca-from": wanted.issuer}}
    # asked again when another webhook changes what ours has made whole
    mutating = _webhook("mutate", MUTATE, wanted) | {"reinvocationPolicy": "IfNeeded"}
    return [
        _configuration("MutatingWebhookConfiguration", metadata, mutating),
        _configuration("ValidatingWebhookConfiguration", metadata, _webhook("validate", VALIDATE, wanted)),
    ]


def trusting(configuration: Body, bundle: bytes) -> Body | None:
    """The configuration with every webhook of ours trusting `bundle`; None when they all do."""
    encoded = base64.b64encode(bundle).decode()
    webhooks = [_trusting(webhook, encoded) for webhook in configuration.get("webhooks") or ()]
    return None if webhooks == (configuration.get("webhooks") or []) else configuration | {"webhooks": webhooks}


def _trusting(webhook: Body, encoded: str) -> Body:
    if not str(webhook.get("name", "")).endswith(f".{GROUP}"):
        return webhook
    return webhook | {"clientConfig": webhook["clientConfig"] | {"caBundle": encoded}}


def _configuration(kind: str, metadata: Body, webhook: Body) -> Body:
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind}
    return head | {"metadata": dict(metadata), "webhooks": [webhook]}


def _webhook(name: str, path: str, wanted: Wanted) -> Body:
    client: Body
    if wanted.url:
        client = {"url": wanted.url.rstrip("/") + path}
    else:
        service = {"namespace": wanted.namespace, "name": wanted.service, "path": path, "port": wanted.port}
        client = {"service": service}
    if wanted.bundle:
        client |= {"caBundle": base64.b64encode(wanted.bundle).decode()}
    ours = sorted(kind.plural for kind in KINDS.values() if kind.api_version == GROUP_VERSION)
    rule = {
        "apiGroups": [GROUP],
        "apiVersions": [VERSION],
        "operations": ["CREATE", "UPDATE"],
        "resources": ours,
        "scope": "Namespaced",
    }
    return {
        "name": f"{name}.{GROUP}",
        "clientConfig": client,
        "rules": [rule],
        "failurePolicy": wanted.failure_policy,
        "matchPolicy": "Equivalent",
        "sideEffects": "None",
        "timeoutSeconds": wanted.timeout_s,
        "admissionReviewVersions": ["v1"],
    }
