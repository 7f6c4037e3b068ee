"""Reading manifests: YAML documents become resources, or sentences that say what is wrong and where."""

from __future__ import annotations

import difflib
import functools
import itertools
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from matrixinfer.handlers.api.documents import documents
from matrixinfer.handlers.api.jsonvalues import unfit
from matrixinfer.handlers.api.kubernetes import DEEPEST
from matrixinfer.handlers.api.meta import DEFAULT_NAMESPACE, Resource
from matrixinfer.handlers.api.registry import KINDS, Kind
from matrixinfer.handlers.api.sentences import is_text, sentence, shown
from matrixinfer.handlers.errors import BadManifest

_FILLED_BY_THE_CLUSTER = (
    "uid",
    "generation",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
)
MOST_LEVELS = 2 * DEEPEST
"""Of a whole document: what is handed on as it is stands some levels deep in it."""
MOST_PROBLEMS = 50
"""Told at once, of one document and of all: nobody reads more."""


def parse_manifests(text: str, namespace: str = DEFAULT_NAMESPACE) -> list[Resource]:
    """The objects in `text`, in order. Raises BadManifest with every problem of every document.

    Objects without a namespace get `namespace`. What only the cluster may say (uid, times, status, …) is left out, so
    that the output of `get` can be applied again.
    """
    resources: list[Resource] = []
    problems: list[str] = []
    for number, document in enumerate(documents(text), start=1):
        try:
            resources.append(read_manifest(document, namespace, where=f"document {number}"))
        except BadManifest as error:
            problems += error.problems
    if not problems and not resources:
        problems.append("no objects: the text holds no YAML document")
    if len(problems) > MOST_PROBLEMS:
        problems[MOST_PROBLEMS:] = ["and more; mend these first"]
    if problems:
        raise BadManifest(problems)
    return resources


def read_manifest(document: object, namespace: str, *, where: str) -> Resource:
    """One document as a resource. `where` begins each problem, before the object's kind and name."""
    if not isinstance(document, dict):
        raise BadManifest([f"{where}: expected an object with apiVersion, kind and metadata, got {shown(document)}"])
    kind = _kind_of(document, where)
    body = {name: value for name, value in document.items() if name != "status"}
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        kept = {name: value for name, value in metadata.items() if name not in _FILLED_BY_THE_CLUSTER}
        body["metadata"] = {"namespace": namespace} | kept
        named = f"{kind.name} {_name(kept)}"
        where = f"{where} ({named})" if where else named
    _check_json(body, where)
    try:
        return kind.type.model_validate(body)
    except ValidationError as error:
        details = [detail for detail in error.errors() if not _is_echo(detail)]
        problems = [f"{where}: {_sentence(kind, detail)}" for detail in details[: MOST_PROBLEMS + 1]]
        raise BadManifest(problems) from error


def _check_json(body: dict[Any, Any], where: str) -> None:
    """First of all: what is no text, say, would go through some fields, and come out of others as something else."""
    found = list(itertools.islice(unfit(body, MOST_LEVELS), MOST_PROBLEMS + 1))
    if found:
        raise BadManifest([f"{where}: {_path(path)}{': ' if path else ''}{problem}" for path, problem in found])


def _name(metadata: dict[Any, Any]) -> str:
    name = metadata.get("name", "without a name")
    return name if is_text(name) else shown(name)


def _kind_of(document: dict[Any, Any], where: str) -> Kind:
    name = document.get("kind")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise BadManifest([f"{where}: kind: expected one of {', '.join(sorted(KINDS))}, got {shown(name)}"])
    if document.get("apiVersion") != kind.api_version:
        got = shown(document.get("apiVersion"))
        raise BadManifest([f"{where}: apiVersion: expected {kind.api_version!r} for a {kind.name}, got {got}"])
    return kind


def _is_echo(detail: ErrorDetails) -> bool:
    """A list whose items are wrong is also called too short, though it is not: that says nothing new."""
    return detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]


def _sentence(kind: Kind, detail: ErrorDetails) -> str:
    path = _path((*detail["loc"], *detail.get("ctx", {}).get("within", ())))
    text = sentence(detail)
    if detail["type"] == "extra_forbidden":
        text += _suggestion(kind, str(detail["loc"][-1]))
    return f"{path}: {text}" if path else text


def _path(location: tuple[int | str, ...]) -> str:
    """`("spec", "backends", 0, "name")` → `spec.backends[0].name`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def _suggestion(kind: Kind, field: str) -> str:
    known = _field_names(kind.type)
    by_case = {name.lower(): name for name in known}
    if field in known:
        return "; there is one of this name, but not here"
    close = difflib.get_close_matches(field.lower(), by_case, n=1)
    return f"; did you mean {by_case[close[0]]!r}?" if close else ""


@functools.cache
def _field_names(type_: type[Resource]) -> frozenset[str]:
    schema = type_.model_json_schema()
    return frozenset(
        name for part in (schema, *schema.get("$defs", {}).values()) for name in part.get("properties", {})
    )
