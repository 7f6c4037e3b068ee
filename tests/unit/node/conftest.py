"""A Pod as the control plane writes it, and a machine to run it on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from matrixinfer.agents.node.environment import Machine
from support.node import World

PodMaker = Callable[..., dict[str, Any]]


@pytest.fixture
def pod_document() -> PodMaker:
    """`pod_document(name, *argv, **spec)`: one container `main` that executes `argv`."""

    def make(name: str = "p", *argv: str, uid: str = "u1", env: tuple[Any, ...] = (), **spec: Any) -> dict[str, Any]:
        container = {"name": "main", "command": list(argv or ("sleep", "60")), "env": list(env)}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "uid": uid, "labels": {}},
            "spec": {"containers": [container], **spec},
        }

    return make


@pytest.fixture
def machine() -> Machine:
    return Machine("local", sys.executable, {"PATH": "/usr/bin:/bin"}, "nats://agent@127.0.0.1:1", "mi")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
