"""What the handlers must be allowed to do on a Kubernetes cluster, and why: for the chart, which makes a ClusterRole of
it. Nothing in it reads a Secret, but the one of a process that answers webhooks with a certificate of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matrixinfer.handlers.api.meta import GROUP_VERSION
from matrixinfer.handlers.api.registry import KINDS, Kind

READ = ("get", "list", "watch")
WRITE = ("create", "patch", "delete")
"""A server-side apply is a patch, and a create where there was nothing."""


@dataclass(frozen=True)
class Rule:
    groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    why: str
    names: tuple[str, ...] = ()
    """Of these objects only; empty: of all."""

    def to_json(self) -> dict[str, Any]:
        rule = {"apiGroups": list(self.groups), "resources": list(self.resources), "verbs": list(self.verbs)}
        return rule | ({"resourceNames": list(self.names)} if self.names else {})


def rules() -> tuple[Rule, ...]:
    """In the order of the table of kinds; a kind that is added there is in here."""
    ours = tuple(kind.plural for kind in KINDS.values() if kind.api_version == GROUP_VERSION)
    group = (GROUP_VERSION.split("/", maxsplit=1)[0],)
    others = [kind for kind in KINDS.values() if kind.api_version != GROUP_VERSION and kind.name != "Event"]
    return (
        Rule(group, ours, READ + WRITE, "the resources, and those that are made of others"),
        Rule(group, tuple(f"{plural}/status" for plural in ours), ("patch",), "their status"),
        Rule(
            group,
            tuple(f"{plural}/finalizers" for plural in ours),
            ("update",),
            "to be named as an owner whose deletion waits (clusters that enforce OwnerReferencesPermissionEnforcement)",
        ),
        *(Rule((_group_of(kind),), (kind.plural,), READ + WRITE, f"{kind.name}s of InferGroups") for kind in others),
        Rule(("",), ("events",), ("create", "get", "patch"), "to tell people; counting is a get and a patch"),
    )


def admission_rules(configuration: str) -> tuple[Rule, ...]:
    """Further ones, in the whole cluster, for the role `admission` with a certificate of its own."""
    kinds = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
    verbs, why = (*READ, "update"), "to say whom to trust"
    return (Rule(("admissionregistration.k8s.io",), kinds, verbs, why, names=(configuration,)),)


def admission_secret_rules(secret: str) -> tuple[Rule, ...]:
    """The same role's, in the namespace of its Secret and nowhere else."""
    return (
        Rule(("",), ("secrets",), (*READ, "update"), "the certificate, which replicas share", names=(secret,)),
        Rule(("",), ("secrets",), ("create",), "when there is none (no rule about making can name what is made)"),
    )


def cluster_role(name: str, further: tuple[Rule, ...] = ()) -> dict[str, Any]:
    return _role("ClusterRole", {"name": name}, rules() + further)


def admission_role(name: str, namespace: str, secret: str) -> dict[str, Any]:
    return _role("Role", {"name": name, "namespace": namespace}, admission_secret_rules(secret))


def _role(kind: str, metadata: dict[str, Any], allowed: tuple[Rule, ...]) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": metadata,
        "rules": [rule.to_json() for rule in allowed],
    }


def _group_of(kind: Kind) -> str:
    return kind.api_version.split("/")[0] if "/" in kind.api_version else ""
