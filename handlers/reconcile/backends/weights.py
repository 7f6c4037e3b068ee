"""Where a backend's weights are: on a volume that an init container fills, on a claim, or in the image."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from matrixinfer.handlers.api.backend import Backend
from matrixinfer.handlers.api.container import Container, VolumeMount
from matrixinfer.handlers.api.podspec import EmptyDir, HostPath, PersistentVolumeClaim, Volume
from matrixinfer.handlers.reconcile.backends.platform import Platform
from matrixinfer.handlers.reconcile.backends.security import OURS, TMP

FOLDER = "/models"
VOLUME = "weights"
DOWNLOADER = "weights"


@dataclass(frozen=True)
class Weights:
    """`path` is what the engine loads. `volumes` and `mounts` are for every container that needs them; `fetching` fills
    them before the engine starts."""

    path: str
    volumes: tuple[Volume, ...] = ()
    mounts: tuple[VolumeMount, ...] = ()
    fetching: tuple[Container, ...] = ()


def weights_of(backend: Backend, platform: Platform) -> Weights:
    scheme, _, rest = backend.model_uri.partition("://")
    if scheme == "file":
        return Weights(rest if rest.startswith("/") else f"/{rest}")
    if scheme == "pvc":
        claim, _, folder = rest.partition("/")
        source = PersistentVolumeClaim(claim_name=claim, read_only=True)
        volume = Volume(name=VOLUME, persistent_volume_claim=source)
        mount = VolumeMount(name=VOLUME, mount_path=FOLDER, read_only=True)
        return Weights(f"{FOLDER}/{folder}".rstrip("/"), (volume,), (mount,))
    path = f"{FOLDER}/{folder_of(backend.model_uri)}"
    volume, mount = cache_of(backend)
    fetching = Container(
        name=DOWNLOADER,
        image=platform.agent_image,
        command=("matrixinfer", "weights", "pull", backend.model_uri, "--output", path),
        env=backend.env,
        env_from=backend.env_from,
        volume_mounts=(mount, TMP.mount),
        security_context=OURS,
    )
    return Weights(path, (volume,), (mount,), (fetching,))


def cache_of(backend: Backend) -> tuple[Volume, VolumeMount]:
    """The volume on which fetched weights are kept."""
    scheme, _, rest = backend.cache_uri.partition("://")
    mount = VolumeMount(name=VOLUME, mount_path=FOLDER)
    if scheme == "hostpath":
        return Volume(name=VOLUME, host_path=HostPath(path=rest, type="DirectoryOrCreate")), mount
    if scheme == "pvc":
        claim, _, folder = rest.partition("/")
        volume = Volume(name=VOLUME, persistent_volume_claim=PersistentVolumeClaim(claim_name=claim))
        return volume, mount.model_copy(update={"sub_path": folder.strip("/")})
    return Volume(name=VOLUME, empty_dir=EmptyDir()), mount


def folder_of(uri: str) -> str:
    """One folder for each address: its last word for people, and a hash of the whole."""
    last = re.sub(r"[^A-Za-z0-9._-]+", "-", uri.rstrip("/").rpartition("/")[2]).strip("-.")
    return f"{last[:40] or 'model'}-{hashlib.sha256(uri.encode()).hexdigest()[:8]}"
