"""Volumes of Pods as folders of this machine.

A process has no mounts of its own, so that a volume cannot be put at its `mountPath`. Instead the container is told of
the folder: wherever its command, its arguments, its environment or its working folder say that path, or one below it,
they are given the folder's. `MATRIXINFER_VOLUME_<NAME>` names it too, for a program that builds its paths itself. Who
may only read is not kept from writing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from matrixinfer.agents.node.errors import CannotStart
from matrixinfer.agents.node.pods import Container, Mount, Object, Pod

KNOWN = "emptyDir, hostPath and persistentVolumeClaim"

Places = Mapping[str, str]
"""Paths that a container says, and the folders of this machine that are meant."""


def make_places(pod: Pod, container: Container, own: Path, claims: Path) -> Places:
    """Makes the folders that are missing: those of the Pod itself below `own`, those of claims, which outlive it, below
    `claims`. Raises CannotStart for a volume that this node does not know."""
    try:
        return {mount.path: str(_folder(pod, mount, own, claims)) for mount in container.mounts}
    except OSError as error:  # a file where a folder should be, a folder that is not ours
        raise CannotStart(f"a volume's folder cannot be made: {error}") from error


def moved(text: str, places: Places) -> str:
    """`text` with every path of `places` replaced, the longest first: one may lie below another."""
    for path in sorted(places, key=len, reverse=True):
        text = _mention(path).sub(lambda _, folder=places[path]: folder, text)  # type: ignore[misc]
    return text


def variables(container: Container, places: Places) -> dict[str, str]:
    return {
        f"MATRIXINFER_VOLUME_{re.sub('[^A-Z0-9]', '_', mount.volume.upper())}": places[mount.path]
        for mount in container.mounts
    }


def _mention(path: str) -> re.Pattern[str]:
    """The path as a whole: at a word's beginning, or behind something that is no part of a path."""
    return re.compile(rf"(?:(?<![\w./-])|(?<=://)){re.escape(path)}(?![\w.-])")


def _folder(pod: Pod, mount: Mount, own: Path, claims: Path) -> Path:
    volume = pod.volumes.get(mount.volume)
    if volume is None:
        raise CannotStart(f"volume {mount.volume!r} is mounted, but none of the pod's: {', '.join(pod.volumes)}")
    folder = _source(pod, mount.volume, volume, own, claims)
    if mount.sub_path:
        folder /= mount.sub_path
        if ".." in Path(mount.sub_path).parts:
            raise CannotStart(f"volume {mount.volume!r}: subPath {mount.sub_path!r} leads out of it")
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _source(pod: Pod, name: str, volume: Object, own: Path, claims: Path) -> Path:
    if "emptyDir" in volume:
        folder = own / name
    elif "persistentVolumeClaim" in volume:
        folder = claims / pod.id.namespace / str(volume["persistentVolumeClaim"].get("claimName"))
    elif "hostPath" in volume:
        return _host_path(name, volume["hostPath"])
    else:
        kinds = ", ".join(kind for kind in volume if kind != "name") or "nothing"
        raise CannotStart(f"volume {name!r} is of {kinds}; this node knows {KNOWN}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _host_path(name: str, source: Object) -> Path:
    path, kind = Path(str(source.get("path"))).expanduser(), source.get("type") or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    if not path.exists() or (kind in ("Directory", "DirectoryOrCreate") and not path.is_dir()):
        raise CannotStart(f"volume {name!r}: there is no {'folder' if kind else 'file or folder'} {path}")
    return path
