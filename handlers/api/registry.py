"""The one table of kinds: type, plural and short names of each resource that the platform knows."""

from __future__ import annotations

from dataclasses import dataclass

from matrixinfer.handlers.api.autoscalingpolicy import AutoScalingPolicy
from matrixinfer.handlers.api.autoscalingpolicybinding import AutoScalingPolicyBinding
from matrixinfer.handlers.api.controllerrevision import ControllerRevision
from matrixinfer.handlers.api.event import Event
from matrixinfer.handlers.api.meta import Resource
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.api.modelinfer import ModelInfer
from matrixinfer.handlers.api.modelroute import ModelRoute
from matrixinfer.handlers.api.modelserver import ModelServer
from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.podgroup import PodGroup
from matrixinfer.handlers.api.service import Service
from matrixinfer.handlers.errors import BadManifest


@dataclass(frozen=True)
class Kind:
    """`is_graceful`: deletion only marks the object; whoever runs it removes it when it has ended."""

    type: type[Resource]
    plural: str
    short_names: tuple[str, ...] = ()
    is_graceful: bool = False

    @property
    def name(self) -> str:
        return self.type.__name__

    @property
    def api_version(self) -> str:
        return self.type.API_VERSION


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(Model, "models"),
        Kind(ModelServer, "modelservers", ("ms",)),
        Kind(ModelRoute, "modelroutes", ("mr",)),
        Kind(ModelInfer, "modelinfers", ("mi",)),
        Kind(AutoScalingPolicy, "autoscalingpolicies", ("asp",)),
        Kind(AutoScalingPolicyBinding, "autoscalingpolicybindings", ("aspb",)),
        Kind(ControllerRevision, "controllerrevisions"),
        Kind(Pod, "pods", ("po",), is_graceful=True),
        Kind(Service, "services", ("svc",)),
        Kind(PodGroup, "podgroups", ("pg",)),
        Kind(Event, "events", ("ev",)),
    )
}

_BY_ANY_NAME = {name.lower(): kind for kind in KINDS.values() for name in (kind.name, kind.plural, *kind.short_names)}


def find_kind(name: str) -> Kind:
    """By kind, plural or short name, in any case. Raises BadManifest that lists what there is."""
    kind = _BY_ANY_NAME.get(name.lower())
    if kind is None:
        raise BadManifest([f"unknown kind {name!r}; expected one of {', '.join(sorted(KINDS))}"])
    return kind
