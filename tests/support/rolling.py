"""A ModelInfer in a world of its own, step by step: a node that starts and ends Pods, and requests that come and go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from matrixinfer.handlers.api import labels
from matrixinfer.handlers.api.conditions import find
from matrixinfer.handlers.api.meta import Condition
from matrixinfer.handlers.api.modelinfer import ModelInfer, ModelInferStatus
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.reconcile.infer.census import is_leaving
from matrixinfer.handlers.reconcile.infer.drain import SETTLED_AFTER_S
from support.resource_world import World


def role(name: str = "server", replicas: int = 1, workers: int = 0, command: str = "one") -> dict[str, Any]:
    """Any: a part of a manifest."""

    def template(word: str) -> dict[str, Any]:
        container = {"name": "c", "command": [word]}
        return {"metadata": {"labels": {labels.AGENT: "true"}}, "spec": {"containers": [container]}}

    body = {"name": name, "replicas": replicas, "entryTemplate": template(command)}
    return body | ({"workerReplicas": workers, "workerTemplate": template(command)} if workers else {})


class Rolling:
    """`write` says what is wanted; `step` is one look of the reconciler and one of the node."""

    def __init__(self, **spec: Any) -> None:
        self.world = World()
        self.spec: dict[str, Any] = {"replicas": 2, "template": {"roles": [role()]}}
        self.write(**spec)

    def write(self, **spec: Any) -> None:
        """Any: fields of the spec; `roles` and `command` are short for the template's."""
        if (command := spec.pop("command", None)) is not None:
            spec["roles"] = [role(command=command)]
        if (roles := spec.pop("roles", None)) is not None:
            spec["template"] = {"roles": roles}
        if (update := spec.pop("update", None)) is not None:
            strategy = spec.get("rolloutStrategy", self.spec.get("rolloutStrategy", {}))
            spec["rolloutStrategy"] = strategy | {"rollingUpdateConfiguration": update}
        self.spec |= spec
        manifest = {
            "apiVersion": "matrixinfer.ai/v1alpha1",
            "kind": "ModelInfer",
            "metadata": {"name": "i"},
            "spec": self.spec,
        }
        self.world.write(yaml.safe_dump(manifest))

    # -- time goes on
    def look(self) -> None:
        """The reconciler's part."""
        self.world.act(self.world.decide(self.infer))

    def step(self, *, starts: bool = True) -> None:
        self.look()
        self.world.node_ends_pods()
        if starts:
            self.world.node_runs_pods()
        self.world.now += SETTLED_AFTER_S
        for pod in self.pods():
            self.world.loads.setdefault(pod.metadata.name, 0)

    def steps(self, most: int = 200) -> Iterator[int]:
        """Until it has come to rest."""
        for number in range(most):
            before = self.seen()
            self.step()
            yield number
            if before == self.seen() and self.world.decide(self.infer).is_empty:
                return
        raise AssertionError(f"not at rest after {most} steps: {self.status}")

    def settle(self) -> None:
        for _ in self.steps():
            pass

    def seen(self) -> list[tuple[str, str, bool, bool]]:
        return [(pod.metadata.name, pod.metadata.uid, pod.is_ready, is_leaving(pod)) for pod in self.pods()]

    # -- what is there
    @property
    def infer(self) -> ModelInfer:
        return self.world.one(ModelInfer, "i")

    @property
    def status(self) -> ModelInferStatus:
        return self.infer.status

    def condition(self, type_: str) -> Condition:
        found = find(self.status.conditions, type_)
        assert found is not None
        return found

    def pods(self) -> list[Pod]:
        return self.world.all(Pod)

    def names(self) -> list[str]:
        return [pod.metadata.name for pod in self.pods()]

    def staying(self) -> list[str]:
        return [pod.metadata.name for pod in self.pods() if not is_leaving(pod)]

    def ready(self) -> list[str]:
        """Those that take requests."""
        return [pod.metadata.name for pod in self.pods() if pod.is_ready and not is_leaving(pod)]

    def commands(self) -> dict[str, str]:
        return {pod.metadata.name: pod.spec.containers[0].command[0] for pod in self.pods()}

    def groups(self) -> set[str]:
        return {pod.metadata.labels[labels.GROUP_INDEX] for pod in self.pods()}
