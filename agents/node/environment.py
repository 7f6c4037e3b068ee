"""What a container's process is given: its command line and its environment, out of the Pod's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from matrixinfer.agents.node.checks import HOST
from matrixinfer.agents.node.errors import BadConfiguration
from matrixinfer.agents.node.expansion import expanded
from matrixinfer.agents.node.pods import Container, Pod
from matrixinfer.agents.node.shapes import Object, part, text, word
from matrixinfer.agents.node.volumes import Places, moved, variables

LIFE_VARIABLE = "MATRIXINFER_NODE_CONTAINER"
"""Names one life of one container: how a restarted node finds a process whose record was not completed."""

_OWN = ("MATRIXINFER_BUS_", "MATRIXINFER_NODE_", "MATRIXINFER_HANDLERS_", "MATRIXINFER_GATEWAY_")


@dataclass(frozen=True)
class Machine:
    """What this machine gives to every container: the node's name, interpreter, environment and bus."""

    node: str
    python: str
    environment: Mapping[str, str]
    bus_url: str
    bus_prefix: str


def command_line(container: Container, machine: Machine, told: Mapping[str, str], places: Places) -> list[str]:
    """`matrixinfer` is this installation, run by this interpreter, whatever the search path says. `told` is what the
    container's environment says, without what it inherits, and not yet moved."""
    program, *arguments = (moved(expanded(word, told), places) for word in container.argv)
    if program == "matrixinfer":
        return [machine.python, "-m", "matrixinfer", *arguments]
    return [program, *arguments]


def told_environment(pod: Pod, container: Container, machine: Machine) -> dict[str, str]:
    """What the container's `env` says. Paths of volumes are still the container's own: what refers to a value is
    expanded first, and moved then. Raises BadConfiguration for a source that this node does not know."""
    for source in container.environment_from:
        if not any(part(source, kind).get("optional") for kind in ("configMapRef", "secretRef")):
            raise BadConfiguration(f"envFrom {', '.join(source)}: this node has no Secrets and no ConfigMaps; use env")
    told = variables(container)
    for item in container.environment:
        value = _value(pod, item, machine)
        if value is not None:
            told[_name(item)] = expanded(value, told)
    return told


def environment(machine: Machine, told: Mapping[str, str], places: Places, life: str) -> dict[str, str]:
    """The node's environment without what concerns the node itself, then the bus, then what the container says."""
    inherited = {name: value for name, value in machine.environment.items() if not name.startswith(_OWN)}
    path = inherited.get("PATH", "")
    bin_dir = str(PurePath(machine.python).parent)
    return {
        **inherited,
        "PATH": f"{bin_dir}:{path}" if path else bin_dir,
        "MATRIXINFER_BUS_URL": machine.bus_url,
        "MATRIXINFER_BUS_PREFIX": machine.bus_prefix,
        **{name: moved(value, places) for name, value in told.items()},
        LIFE_VARIABLE: life,
    }


def _name(item: Object) -> str:
    name = text(item, "name")
    if not name:
        raise BadConfiguration("env has an item without a name")
    return name


def _value(pod: Pod, item: Object, machine: Machine) -> str | None:
    """None for an optional value that is not there."""
    source = part(item, "valueFrom")
    if not source:
        return word(item, "value")
    path = text(part(source, "fieldRef"), "fieldPath")
    if path:
        return _field(pod, path, machine)
    if any(part(source, kind).get("optional") for kind in ("configMapKeyRef", "secretKeyRef")):
        return None
    raise BadConfiguration(f"env {item.get('name')} comes from {', '.join(source)}; this node knows fieldRef only")


def _field(pod: Pod, path: str, machine: Machine) -> str:
    metadata = part(pod.document, "metadata")
    plain = {
        "metadata.name": pod.id.name,
        "metadata.namespace": pod.id.namespace,
        "metadata.uid": pod.uid,
        "spec.nodeName": machine.node,
        "spec.serviceAccountName": "",
        "status.podIP": HOST,
        "status.podIPs": HOST,
        "status.hostIP": HOST,
        "status.hostIPs": HOST,
    }
    if path in plain:
        return plain[path]
    for family in ("labels", "annotations"):
        opening = f"metadata.{family}['"
        if path.startswith(opening) and path.endswith("']"):
            return word(part(metadata, family), path[len(opening) : -2])
    raise BadConfiguration(f"fieldPath {path!r} is unknown; expected one of {', '.join(plain)} or a label")
