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
from matrixinfer.agents.node.expansion import expanded
from matrixinfer.agents.node.pods import Container, Mount, Pod
from matrixinfer.agents.node.shapes import Object, part, text
from matrixinfer.bus.subjects import escape

KNOWN = "emptyDir, hostPath and persistentVolumeClaim"

Places = Mapping[str, str]
"""Paths that a container says, and the folders of this machine that are meant."""


def make_places(pod: Pod, container: Container, own: Path, claims: Path, told: Mapping[str, str]) -> Places:
    """Makes the folders that are missing: those of the Pod itself below `own`, those of claims, which outlive it, below
    `claims`. `told`: what the container's `env` says. Raises CannotStart for a volume that this node does not know, or
    that cannot be had."""
    try:
        return {mount.path: str(_folder(pod, mount, own, claims, told)) for mount in container.mounts}
    except OSError as error:  # a file where a folder should be, a folder that is not ours, a full disk
        raise CannotStart(f"a volume's folder cannot be made: {error}") from error
    except ValueError as error:  # a path that is none
        raise CannotStart(f"a volume cannot be had: {error}") from error


def moved(text: str, places: Places) -> str:
    """`text` with every path of `places` replaced, once and from left to right; of two that begin alike the longer."""
    if not places:
        return text
    paths = "|".join(re.escape(path) for path in sorted(places, key=len, reverse=True))
    return re.sub(_MENTION.format(paths), lambda met: places[met.group()], text)


def variables(container: Container) -> dict[str, str]:
    """By name the paths of the volumes, as the container says them: what is told of them is moved like the rest."""
    return {
        f"MATRIXINFER_VOLUME_{re.sub('[^A-Z0-9]', '_', mount.volume.upper())}": mount.path for mount in container.mounts
    }


_MENTION = r"(?:(?<![\w./-])|(?<=://))(?:{})(?![\w.-])"
"""A path as a whole: at a word's beginning, or behind something that is no part of a path."""


def _folder(pod: Pod, mount: Mount, own: Path, claims: Path, told: Mapping[str, str]) -> Path:
    volume = pod.volumes.get(mount.volume)
    if volume is None:
        raise CannotStart(f"volume {mount.volume!r} is mounted, but none of the pod's: {', '.join(pod.volumes)}")
    source = _source(pod, mount.volume, volume, own, claims)
    sub_path = mount.sub_path or expanded(mount.sub_path_expr, told)
    if not sub_path:
        return source
    folder = _inside(source, sub_path, f"volume {mount.volume!r}: subPath")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _inside(folder: Path, name: str, whose: str) -> Path:
    """Also links must not lead out of it: whoever writes into a volume must not choose what others are given."""
    inner = folder / name
    if not inner.resolve().is_relative_to(folder.resolve()) or ".." in inner.parts:
        raise CannotStart(f"{whose} {name!r} leads out of {folder}")
    return inner


def _source(pod: Pod, name: str, volume: Object, own: Path, claims: Path) -> Path:
    if "emptyDir" in volume:
        folder = _inside(own, name, "emptyDir")
    elif volume.get("persistentVolumeClaim") is not None:
        claim = text(part(volume, "persistentVolumeClaim"), "claimName")
        folder = _inside(claims / escape(pod.id.namespace), claim, f"volume {name!r}: claimName")
    elif volume.get("hostPath") is not None:
        return _host_path(name, part(volume, "hostPath"))
    else:
        kinds = ", ".join(kind for kind in volume if kind != "name") or "nothing"
        raise CannotStart(f"volume {name!r} is of {kinds}; this node knows {KNOWN}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _host_path(name: str, source: Object) -> Path:
    path, kind = Path(text(source, "path")), text(source, "type")
    if not text(source, "path"):
        raise CannotStart(f"volume {name!r}: hostPath has no path")
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    if not path.exists() or (kind in ("Directory", "DirectoryOrCreate") and not path.is_dir()):
        raise CannotStart(f"volume {name!r}: there is no {'folder' if kind else 'file or folder'} {path}")
    return path
