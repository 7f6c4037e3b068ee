"""Bounds of a Pod's fields: the validators refuse what is beyond and say where, and the CRDs carry the same bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import yaml

from matrixinfer.handlers.api.crds.render import our_kinds, rendered
from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.errors import BadManifest

Body = dict[str, Any]  # Any: as JSON has it
MOST = 2**31 - 1


class Bound(NamedTuple):
    """`path` below a Pod's spec; `[]` is an entry of a list. `schema` is what the CRD says of it."""

    path: str
    schema: Body
    good: tuple[Any, ...]
    bad: tuple[Any, ...]


NEEDED: dict[str, Body] = {
    "containers": {"name": "c"},
    "initContainers": {"name": "i"},
    "env": {"name": "A"},
    "ports": {"containerPort": 1},
    "volumeMounts": {"name": "v", "mountPath": "/m"},
    "volumes": {"name": "v"},
    "topologySpreadConstraints": {"topologyKey": "zone"},
    "matchExpressions": {"operator": "Exists"},
}
"""What the entries of a list have besides the field that is tried."""


def numbers(path: str, least: int, most: int = MOST) -> Bound:
    return Bound(path, {"minimum": least, "maximum": most}, (least, most), (least - 1, most + 1, 10**400))


def times_of(probe: str) -> Iterator[Bound]:
    yield numbers(f"containers[].{probe}.initialDelaySeconds", 0)
    for name in ("periodSeconds", "timeoutSeconds", "successThreshold", "failureThreshold"):
        yield numbers(f"containers[].{probe}.{name}", 1)
    yield numbers(f"containers[].{probe}.terminationGracePeriodSeconds", 1)


def actions_of(place: str) -> Iterator[Bound]:
    yield Bound(f"{place}.exec.command", {"minItems": 1}, (["true"],), ([],))
    yield named_port(f"{place}.httpGet.port")
    yield named_port(f"{place}.tcpSocket.port")


def named_port(path: str) -> Bound:
    words = ("http", "a", "1-a", "80a", "a-1-b", "a" * 15)
    no_words = ("8080", "", "-a", "a-", "a--b", "A", "a_b", "a" * 16, "a\n")
    schema = {
        "minimum": 1,
        "maximum": 65535,
        "maxLength": 15,
        "pattern": r"^([0-9]+-)*[0-9]*[a-z]([a-z0-9]|-[a-z0-9])*$",
    }
    return Bound(path, schema, (1, 65535, *words), (0, -1, 65536, 2**70, True, 80.0, *no_words))


def ports(path: str) -> Bound:
    return Bound(path, {"minimum": 1, "maximum": 65535}, (1, 65535), (0, -1, 65536, "http", "80"))


def path_below(path: str) -> Bound:
    good = ("", "a", "a/b/", "..a/.b", "a..", "$(NAME)/x")
    return Bound(path, {"pattern": ...}, good, ("/a", "..", "a/../b", "a/..", "../a", "a\0"))


def for_a_process(path: str) -> Bound:
    return Bound(path, {"pattern": r"^[^\x00]*$"}, ("a\nb", "名"), ("a\0b", "\ud800"))


MATCH = "topologySpreadConstraints[].labelSelector.matchExpressions[]"
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HOOKS = ("lifecycle.postStart", "lifecycle.preStop")
BOUNDS = [
    *(bound for probe in PROBES for bound in (*times_of(probe), *actions_of(f"containers[].{probe}"))),
    *(ports(f"containers[].{probe}.grpc.port") for probe in PROBES),
    *(bound for hook in HOOKS for bound in actions_of(f"containers[].{hook}")),
    *(numbers(f"containers[].{hook}.sleep.seconds", 0) for hook in HOOKS),
    ports("containers[].ports[].containerPort"),
    ports("containers[].ports[].hostPort"),
    path_below("containers[].volumeMounts[].subPath"),
    path_below("containers[].volumeMounts[].subPathExpr"),
    Bound("containers[].volumeMounts[].mountPath", {"minLength": 1}, ("/a",), ("", "/\0")),
    for_a_process("containers[].command[]"),
    for_a_process("containers[].args[]"),
    for_a_process("containers[].workingDir"),
    for_a_process("containers[].env[].value"),
    Bound("containers[].env[].name", {"pattern": "^[ -<>-~]+$"}, ("A", "a b"), ("", "A=B", "é")),
    Bound("volumes[].persistentVolumeClaim.claimName", {"maxLength": 253, "pattern": ...}, ("a.b",), ("..", "/a", "")),
    Bound("volumes[].hostPath.path", {"minLength": 1}, ("/a",), ("", "/\0")),
    numbers("terminationGracePeriodSeconds", 0),
    numbers("activeDeadlineSeconds", 1),
    numbers("priority", -MOST - 1),
    Bound(
        "containers[].env[].valueFrom.fieldRef.fieldPath",
        {"pattern": ...},
        ("metadata.uid", "metadata.labels['a.b/c']"),
        ("", "spec", "metadata.labels['']", "metadata.labels['a\0']"),
    ),
    Bound("topologySpreadConstraints[].topologyKey", {"minLength": 1, "maxLength": 317}, ("a" * 317,), ("", "a" * 318)),
    Bound(f"{MATCH}.key", {"minLength": 1, "maxLength": 317}, ("a" * 317,), ("", "a" * 318)),
    numbers("topologySpreadConstraints[].maxSkew", 1),
    numbers("topologySpreadConstraints[].minDomains", 1),
    Bound("containers", {"minItems": 1, "maxItems": 64}, ([{"name": f"c{n}"} for n in range(64)],), ([],)),
    Bound("initContainers", {"maxItems": 64}, ([{"name": f"c{n}"} for n in range(64)],), ([{"name": "c"}] * 65,)),
]  # fmt: skip
REFUSED = [(bound.path, value) for bound in BOUNDS for value in bound.bad]


def put(holder: Body, path: str, value: object) -> Body:
    """`holder` with `value` at `path`, and with what is needed around it."""
    step, _, rest = path.partition(".")
    name = step.removesuffix("[]")
    if not step.endswith("[]"):
        return holder | {name: put(holder.get(name, {}), rest, value) if rest else value}
    needed: Body = NEEDED.get(name, {})
    return holder | {name: [put(needed, rest, value) if rest else value]}


def pod(path: str, value: object) -> str:
    spec = put({"containers": [{"name": "c"}]}, path, value)
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})


def places(schema: Body, path: str = "") -> Iterator[tuple[str, Body]]:
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from places(part, f"{path}.{name}".removeprefix("."))
    if "items" in schema:
        yield from places(schema["items"], f"{path}[]")


def pod_schemas() -> list[dict[str, Body]]:
    """Of the templates of a ModelInfer, by path."""
    (infer,) = [kind for kind in our_kinds() if kind.name == "ModelInfer"]
    (version,) = rendered(infer)["spec"]["versions"]
    whole = dict(places(version["schema"]["openAPIV3Schema"]))
    roots = [f"spec.template.roles[].{template}.spec." for template in ("entryTemplate", "workerTemplate")]
    return [{at.removeprefix(root): one for at, one in whole.items() if at.startswith(root)} for root in roots]


SCHEMAS = pod_schemas()


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.path)
def test_what_is_within_the_bounds_is_taken(bound):
    for value in bound.good:
        assert parse_manifests(pod(bound.path, value))


@pytest.mark.parametrize(("path", "value"), REFUSED, ids=lambda part: ascii(part)[:60])
def test_what_is_beyond_the_bounds_is_refused_with_its_path(path, value):
    with pytest.raises(BadManifest) as refused:
        parse_manifests(pod(path, value))
    (problem,) = refused.value.problems
    assert f" spec.{path.replace('[]', '[0]')}: expected" in problem
    assert problem.encode()


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.path)
def test_the_crd_carries_the_bounds(bound):
    for schema in SCHEMAS:
        found = schema[bound.path]
        for name, value in bound.schema.items():
            assert name in found, name
            assert value in (..., found[name]), name


@pytest.mark.parametrize("bound", [one for one in BOUNDS if "pattern" in one.schema], ids=lambda bound: bound.path)
def test_the_pattern_in_the_crd_says_what_the_validator_says(bound):
    """But for half a character, which no JSON brings to a server."""
    found = SCHEMAS[0][bound.path]
    for value in (*bound.good, *bound.bad):
        if isinstance(value, str) and value != "\ud800":
            fits = re.fullmatch(found["pattern"].replace("$", r"\Z"), value) is not None
            fits = fits and found.get("minLength", 0) <= len(value) <= found.get("maxLength", 1000)
            assert fits == (value in bound.good), value


def test_every_number_of_a_pod_has_both_bounds():
    for schema in SCHEMAS:
        unbounded = [
            at
            for at, one in schema.items()
            if one.get("type") == "integer" and not one.keys() >= {"minimum", "maximum"}
        ]
        assert unbounded == []


def test_every_bounded_number_of_a_pod_is_tried_here():
    tried = {bound.path for bound in BOUNDS}
    numbers = {at for at, one in SCHEMAS[0].items() if "maximum" in one and not at.startswith("initContainers[]")}
    assert numbers == {path for path in tried if "maximum" in SCHEMAS[0][path]}
