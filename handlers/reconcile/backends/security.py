"""What containers may not do, and the folders that a read-only root needs.

The engines' images run as root and write below it, so that they keep both; nobody gains privileges. A backend whose
image can do with less says so in the worker's `securityContext`.
"""

from __future__ import annotations

from typing import NamedTuple

from matrixinfer.handlers.api.container import VolumeMount
from matrixinfer.handlers.api.kubernetes import Passed
from matrixinfer.handlers.api.podspec import EmptyDir, Volume

_NO_MORE: Passed = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
USER = 10001
"""Of our own containers; no image needs to know it."""

ENGINE: Passed = _NO_MORE
AGENT_WITH_ENGINE: Passed = _NO_MORE | {"runAsNonRoot": True}
"""An agent that has its engine, and so the weights, inside; its image says which user, with a home to write in."""
OURS: Passed = _NO_MORE | {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "readOnlyRootFilesystem": True}
POD: Passed = {"fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"}
"""Volumes can be written by ours, and read by the engine."""


class Folder(NamedTuple):
    volume: Volume
    mount: VolumeMount


def folder(name: str, path: str, *, medium: str = "") -> Folder:
    """An empty one, as old as the Pod."""
    return Folder(Volume(name=name, empty_dir=EmptyDir(medium=medium)), VolumeMount(name=name, mount_path=path))


TMP = folder("tmp", "/tmp")
SHARED_MEMORY = folder("shm", "/dev/shm", medium="Memory")
"""The default of 64 MiB is too small for what the processes of an engine say to each other."""
RUN = folder("run", "/run/matrixinfer")
"""Where the agent tells the engine that it has finished."""
ADAPTERS = folder("adapters", "/adapters")
"""The agent fetches LoRA adapters to where the engine can load them."""
