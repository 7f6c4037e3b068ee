"""Single values of manifests: what a field takes in is the same everywhere, and what it refuses is told in words."""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from matrixinfer.handlers.api import patterns
from matrixinfer.handlers.api.autoscalingpolicy import AutoScalingPolicySpec
from matrixinfer.handlers.api.autoscalingpolicybinding import AutoScalingPolicyBindingSpec
from matrixinfer.handlers.api.crds.schema import structural
from matrixinfer.handlers.api.jsonobject import MOST_LEVELS
from matrixinfer.handlers.api.manifests import parse_manifests, read_manifest
from matrixinfer.handlers.api.meta import Metadata
from matrixinfer.handlers.api.model import ModelSpec
from matrixinfer.handlers.api.modelinfer import ModelInferSpec
from matrixinfer.handlers.api.modelroute import ModelRouteSpec
from matrixinfer.handlers.api.modelserver import ModelServerSpec
from matrixinfer.handlers.api.podspec import PodSpec
from matrixinfer.handlers.api.registry import KINDS
from matrixinfer.handlers.errors import BadManifest

WRITTEN_BY_PEOPLE = (
    ModelSpec,
    ModelInferSpec,
    ModelRouteSpec,
    ModelServerSpec,
    AutoScalingPolicySpec,
    AutoScalingPolicyBindingSpec,
    PodSpec,
)
MODEL: dict[str, Any] = {
    "apiVersion": "matrixinfer.ai/v1alpha1",
    "kind": "Model",
    "metadata": {"name": "m"},
    "spec": {"backends": [{"name": "a", "type": "Simulated"}]},
}
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c"}]},
}
NUL = "expected text without the character NUL: no process can be given one"


def changed(body: dict[str, Any], *path: str | int, to: object) -> str:
    """The manifest with the value at `path` replaced."""
    copy = json.loads(json.dumps(body))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return yaml.safe_dump(copy)


def problem(text: str) -> str:
    with pytest.raises(BadManifest) as caught:
        parse_manifests(text)
    (only,) = caught.value.problems
    return only


def scalars(type_: type[BaseModel]) -> Iterator[tuple[str, Any, type]]:
    """Every field below `type_` that takes a whole number or a truth, with its annotation."""
    for name, field in type_.model_fields.items():
        schema = json.dumps(TypeAdapter(field.rebuild_annotation()).json_schema())
        for kind, word in ((int, '"integer"'), (bool, '"boolean"')):
            if word in schema and "properties" not in schema:
                yield f"{type_.__name__}.{name}", field.rebuild_annotation(), kind
        for part in parts_of(field.annotation):
            yield from scalars(part)


def parts_of(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from parts_of(argument)


SCALARS = {name: (annotation, kind) for spec in WRITTEN_BY_PEOPLE for name, annotation, kind in scalars(spec)}
NUMBERS = {name: annotation for name, (annotation, kind) in SCALARS.items() if kind is int}
TOKENS = {f"RateLimit.{field}_per_unit" for field in ("input_tokens", "output_tokens", "requests")}
"""In a month there may be many."""
FLAGS = {name: annotation for name, (annotation, kind) in SCALARS.items() if kind is bool}


def test_the_numbers_of_all_specs_are_found():
    assert {"Backend.min_replicas", "Role.worker_replicas", "WorkloadPort.port", "TargetModel.weight"} <= NUMBERS.keys()
    assert "RolloutStrategy.paused" in FLAGS


@pytest.mark.parametrize("name", sorted(NUMBERS))
@pytest.mark.parametrize("value", [True, "2", "yes", 2.5, 1.0])
def test_no_number_is_made_of_what_is_none(name, value):
    with pytest.raises(ValidationError):
        TypeAdapter(NUMBERS[name]).validate_python(value)


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_no_number_is_larger_than_a_server_takes(name):
    with pytest.raises(ValidationError):
        TypeAdapter(NUMBERS[name]).validate_python(2**63)
    if name not in TOKENS:
        with pytest.raises(ValidationError):
            TypeAdapter(NUMBERS[name]).validate_python(2**31)


@pytest.mark.parametrize("name", sorted(FLAGS))
@pytest.mark.parametrize("value", ["yes", "true", 1, 0.0])
def test_no_flag_is_made_of_what_is_none(name, value):
    with pytest.raises(ValidationError):
        TypeAdapter(FLAGS[name]).validate_python(value)


@pytest.mark.parametrize(("field", "kind"), [("controller", bool), ("block_owner_deletion", bool)])
def test_no_truth_is_made_of_what_is_none(field, kind):
    (owners,) = parts_of(Metadata.model_fields["owner_references"].annotation)
    adapter = TypeAdapter(owners.model_fields[field].rebuild_annotation())
    assert adapter.validate_python(True) is True
    for value in ("yes", 1, "true"):
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


def test_every_pattern_of_every_kind_has_a_meaning():
    used = {pattern for kind in KINDS.values() for pattern in found_patterns(kind.type.model_json_schema())}
    assert used == patterns.MEANINGS.keys()


def found_patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        yield from schema.get("patternProperties", {})
        for part in schema.values():
            yield from found_patterns(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from found_patterns(part)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            changed(MODEL, "spec", "backends", 0, "minReplicas", to=True),
            "minReplicas: expected a whole number, got True",
        ),
        (changed(MODEL, "spec", "backends", 0, "minReplicas", to="2"), "minReplicas: expected a whole number, got '2'"),
        (changed(MODEL, "spec", "backends", 0, "minReplicas", to=-1), "minReplicas: expected at least 0, got -1"),
        (changed(MODEL, "spec", "backends", 0, "routeWeight", to=101), "routeWeight: expected at most 100, got 101"),
        (changed(MODEL, "spec", "backends", to=[]), "spec.backends: expected 1 or more entries, got []"),
        (changed(MODEL, "spec", "backends", to="main"), "spec.backends: expected a list, got 'main'"),
        (
            changed(MODEL, "spec", "backends", 0, to=3),
            "spec.backends[0]: expected an object with fields of its own, got 3",
        ),
        (changed(MODEL, "spec", to=None), "spec: expected an object with fields of its own, got nothing"),
        (changed(MODEL, "metadata", to="m"), "metadata: expected an object with fields of its own, got 'm'"),
        (changed(MODEL, "metadata", "name", to=""), "metadata.name: expected 1 or more characters, got ''"),
        (
            changed(MODEL, "metadata", "labels", to=["a"]),
            "metadata.labels: expected names with their values, got ['a']",
        ),
        (
            changed(MODEL, "metadata", "labels", to={"a": "b c"}),
            "metadata.labels.a: expected letters, digits, '-', '_' and '.', beginning and ending with a letter or "
            "digit, or nothing, got 'b c'",
        ),
        (
            changed(MODEL, "spec", "name", to="my model"),
            "spec.name: expected letters, digits, '-', '.', '_', '/' and ':', got 'my model'",
        ),
        (changed(MODEL, "spec", "name", to=7), "spec.name: expected text; numbers, true and false need quotes"),
        (
            changed(POD, "spec", "restartPolicy", to="Maybe"),
            "spec.restartPolicy: expected 'Always', 'OnFailure' or 'Never', got 'Maybe'",
        ),
        (
            changed(POD, "spec", "containers", 0, "env", to=[{"name": "A=B"}]),
            "env[0].name: expected printable characters of ASCII without '=', got 'A=B'",
        ),
    ],
)
def test_what_was_expected_is_told_in_words(text, expected):
    assert expected in problem(text)


@pytest.mark.parametrize(
    ("field", "value", "where"),
    [
        ("command", ["sh", "a\0b"], "command[1]"),
        ("args", ["\0"], "args[0]"),
        ("env", [{"name": "A", "value": "a\0b"}], "env[0].value"),
        ("workingDir", "/tmp\0", "workingDir"),
    ],
)
def test_what_no_process_can_be_given_is_refused_where_it_is_written(field, value, where):
    assert f"spec.containers[0].{where}: {NUL}" in problem(changed(POD, "spec", "containers", 0, field, to=value))


def test_a_model_hands_no_nul_on_to_its_pods():
    env = [{"name": "A", "value": "\0"}]
    assert f"spec.backends[0].env[0].value: {NUL}" in problem(changed(MODEL, "spec", "backends", 0, "env", to=env))
    uri = problem(changed(MODEL, "spec", "backends", 0, "modelURI", to="file:///a\0b"))
    assert "spec.backends[0].modelURI: expected scheme://… without spaces" in uri


def test_lines_and_tabs_are_text_for_a_process():
    assert parse_manifests(changed(POD, "spec", "containers", 0, "command", to=["sh", "-c", "a\n\tb\n"]))


SECONDS = (1, 2**31 - 1, 0, 2**31)
"""The least and the most that are right, and what is just beyond them."""
FROM_ZERO = (0, 2**31 - 1, -1, 2**31)
PORT = (1, 65535, 0, 65536)
IN_A_PROBE = {
    "periodSeconds": SECONDS,
    "timeoutSeconds": SECONDS,
    "successThreshold": SECONDS,
    "failureThreshold": SECONDS,
    "terminationGracePeriodSeconds": SECONDS,
    "initialDelaySeconds": FROM_ZERO,
}
SLEEP = ("spec", "containers", 0, "lifecycle")
PROBE = ("spec", "containers", 0, "livenessProbe")


def _probe_with(field: str, number: int) -> dict[str, Any]:
    return {"tcpSocket": {"port": 1}, field: number}


BOUNDED: dict[str, tuple[tuple[str | int, ...], Any, tuple[int, int, int, int]]] = {
    # what is put where, around the number
    "spec.terminationGracePeriodSeconds": (("spec", "terminationGracePeriodSeconds"), lambda n: n, FROM_ZERO),
    "spec.activeDeadlineSeconds": (("spec", "activeDeadlineSeconds"), lambda n: n, SECONDS),
    "lifecycle.preStop.sleep.seconds": (SLEEP, lambda n: {"preStop": {"sleep": {"seconds": n}}}, FROM_ZERO),
    "ports[0].containerPort": (("spec", "containers", 0, "ports"), lambda n: [{"containerPort": n}], PORT),
    "ports[0].hostPort": (
        ("spec", "containers", 0, "ports"),
        lambda n: [{"containerPort": 1, "hostPort": n}],
        (0, 65535, -1, 65536),
    ),
    "livenessProbe.httpGet.port": (PROBE, lambda n: {"httpGet": {"port": n}}, PORT),
    "livenessProbe.tcpSocket.port": (PROBE, lambda n: {"tcpSocket": {"port": n}}, PORT),
    "livenessProbe.grpc.port": (PROBE, lambda n: {"grpc": {"port": n}}, PORT),
} | {
    f"livenessProbe.{field}": (PROBE, functools.partial(_probe_with, field), bounds)
    for field, bounds in IN_A_PROBE.items()
}


@pytest.mark.parametrize("name", BOUNDED)
def test_a_number_beyond_its_bounds_is_refused_where_it_is_written(name):
    path, around, (least, most, too_small, too_large) = BOUNDED[name]
    for good in (least, most):
        assert parse_manifests(changed(POD, *path, to=around(good)))
    for bad in (too_small, too_large):
        told = problem(changed(POD, *path, to=around(bad)))
        assert f"{name}: expected" in told
        assert f"got {bad}" in told


@pytest.mark.parametrize("field", ["containerPort", "hostPort"])
def test_the_bounds_of_ports_are_the_api_servers_too(field):
    schema = structural(ModelInferSpec)["properties"]["template"]["properties"]["roles"]["items"]["properties"]
    containers = schema["entryTemplate"]["properties"]["spec"]["properties"]["containers"]["items"]["properties"]
    port = containers["ports"]["items"]["properties"][field]
    assert (port["minimum"], port["maximum"]) == (1 if field == "containerPort" else 0, 65535)


def test_a_port_may_have_a_name():
    assert parse_manifests(changed(POD, "spec", "containers", 0, "livenessProbe", to={"httpGet": {"port": "http"}}))


@pytest.mark.parametrize("text", ["a", "a/b", ".a", "..a", "a/..b", "...", "$(POD)/x"])
@pytest.mark.parametrize("field", ["subPath", "subPathExpr"])
def test_a_path_below_a_volume_stays_below_it(field, text):
    mount = {"name": "v", "mountPath": "/data", field: text}
    assert parse_manifests(changed(POD, "spec", "containers", 0, "volumeMounts", to=[mount]))


@pytest.mark.parametrize("text", ["/a", "..", "../a", "a/..", "a/../b", "a/..//b", "a\0b"])
@pytest.mark.parametrize("field", ["subPath", "subPathExpr"])
def test_a_path_that_leads_out_of_a_volume_is_refused(field, text):
    mount = {"name": "v", "mountPath": "/data", field: text}
    told = problem(changed(POD, "spec", "containers", 0, "volumeMounts", to=[mount]))
    assert f"volumeMounts[0].{field}: expected a path below the volume" in told


@pytest.mark.parametrize("name", ["", "../x", "a/b", "Claim", "a" * 254])
def test_a_claim_has_the_name_of_an_object(name):
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": name}}
    assert "volumes[0].persistentVolumeClaim.claimName: expected" in problem(
        changed(POD, "spec", "volumes", to=[volume])
    )


@pytest.mark.parametrize("where", ["livenessProbe", "lifecycle"])
def test_a_command_has_a_word(where):
    action: dict[str, Any] = {"exec": {"command": []}}
    to = action if where == "livenessProbe" else {"postStart": action}
    told = problem(changed(POD, "spec", "containers", 0, where, to=to))
    assert "exec.command: expected 1 or more entries, got []" in told


@pytest.mark.parametrize(
    ("where", "to"),
    [
        ("readinessProbe", {"httpGet": {"port": 1}, "grpc": {"port": 1}}),
        ("lifecycle", {"preStop": {"httpGet": {"port": 1}, "sleep": {"seconds": 1}}}),
    ],
)
def test_a_probe_or_a_hook_does_one_thing(where, to):
    told = problem(changed(POD, "spec", "containers", 0, where, to=to))
    assert where in told
    assert "expected one action, got httpGet and " in told


def nested(levels: int) -> Any:
    """So many objects and lists in one another."""
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


FREE = {
    "affinity": (POD, ("spec", "affinity")),
    "config": (MODEL, ("spec", "backends", 0, "config")),
    "parameters": (MODEL, ("spec", "backends", 0, "dispatch")),
}


def free(name: str, value: Any) -> object:
    """A manifest as the door and the webhook have it: objects, not text."""
    body, path = FREE[name]
    to = {"profile": {"scorers": [{"name": "s", "parameters": value}]}} if name == "parameters" else value
    copy = yaml.safe_load(changed(body, *path, to=None))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return copy


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": nested(MOST_LEVELS)}, f"expected at most {MOST_LEVELS} objects and lists in one another"),
        ({"a": nested(100_000)}, f"expected at most {MOST_LEVELS} objects and lists in one another"),
        ({"a": [1, float("nan")]}, "a[1]: expected a finite number, got nan"),
        ({"a": {"b": float("-inf")}}, "a.b: expected a finite number, got -inf"),
        ({"a": 2**63}, "a: expected a whole number of at most 64 bits"),
        ({"a": -(2**63) - 1}, "a: expected a whole number of at most 64 bits"),
        ({"a": "\ud800"}, "a: expected text that is valid Unicode"),
        ({"a": {"\ud800": 1}}, "a: expected text as the name of a field"),
        ({"a": {1: 1}}, "a: expected text as the name of a field, got 1"),
        ({"a": datetime.date(2026, 1, 1)}, "a: expected what JSON can hold; dates and the like need quotes"),
    ],
    ids=["too deep", "endless", "nan", "inf", "large", "small", "half a character", "half a name", "number", "date"],
)
def test_a_free_object_is_what_json_can_hold(name, value, expected):
    with pytest.raises(BadManifest) as caught:
        read_manifest(free(name, value), "default", where="")
    assert expected in caught.value.problems[0]


@pytest.mark.parametrize("name", FREE)
def test_a_free_object_may_be_deep_and_of_all_that_json_knows(name):
    value = {"a": nested(MOST_LEVELS - 1), "b": [2**63 - 1, -(2**63), 1.5, True, None, "é"]}
    read = read_manifest(free(name, value), "default", where="")
    assert type(read).read(read.to_json()) == read


@pytest.mark.parametrize(
    ("weight", "is_good"),
    [(1000, True), (0.001, True), (1001, False), (0, False), (float("inf"), False), (float("nan"), False)],
)
def test_a_tenants_weight_is_a_number_that_can_be_reckoned_with(weight, is_good):
    manifest = changed(MODEL, "spec", "backends", 0, "dispatch", to={"tenantWeights": {"a": weight}})
    if is_good:
        assert parse_manifests(manifest)
    else:
        assert "dispatch.tenantWeights.a: " in problem(manifest)


@pytest.mark.parametrize("duration", ["9" * 39 + "h", "9" * 41 + "s", "8760h1s"])
def test_a_duration_ends(duration):
    told = problem(changed(MODEL, "spec", "backends", 0, "startupTimeout", to=duration))
    assert "spec.backends[0].startupTimeout: " in told
    assert "at most 8760h" in told or "at most 40 characters" in told


def test_a_field_of_another_part_is_not_proposed_in_its_own_place():
    told = problem(changed(MODEL, "spec", "backends", 0, "dispatch", to={"scorers": []}))
    assert told.endswith("dispatch.scorers: unknown field; there is one of this name, but not here")


SGLANG = {"name": "a", "type": "SGLang", "modelURI": "hf://org/m"}


@pytest.mark.parametrize("flag", ["", "-", "--", "tp size", "a=b", "--a\nb", "0"])
def test_what_cannot_be_a_flag_is_refused(flag):
    told = problem(changed(MODEL, "spec", "backends", 0, to=SGLANG | {"config": {flag: 1}}))
    assert f"config: expected names of flags such as tp-size, got {flag!r}" in told


@pytest.mark.parametrize("flag", ["tp-size", "tp_size", "--tp-size", "-O", "hf-overrides.a"])
def test_a_flag_may_be_written_as_people_do(flag):
    assert parse_manifests(changed(MODEL, "spec", "backends", 0, to=SGLANG | {"config": {flag: 1}}))


@pytest.mark.parametrize("field", ["autoscalingPolicy", "serviceAccountName", "runtimeClassName"])
def test_a_name_of_another_object_can_be_one(field):
    assert parse_manifests(changed(MODEL, "spec", "backends", 0, to=SGLANG | {field: "a.b-1"}))
    told = problem(changed(MODEL, "spec", "backends", 0, to=SGLANG | {field: "Bad Name"}))
    assert f"spec.backends[0].{field}: expected lower case letters" in told
