"""Prints docs/resources.md: every field of every resource, read from the types themselves.

python scripts/resources_page.py > docs/resources.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from matrixinfer.handlers.api.crds.render import our_kinds, rendered
from matrixinfer.handlers.api.registry import Kind

HEAD = """\
# Resources

Made by `make docs` from the types in `handlers/api`; a test compares. All are of `matrixinfer.ai/v1alpha1` and
namespaced. `matrixinfer crds` prints their CustomResourceDefinitions; the same rules refuse a bad object at
`matrixinfer apply`, in the admission webhook, and in the API server.

Fields below a Pod's `spec` are Kubernetes' own and are not listed.
"""
Schema = dict[str, Any]
"""Any: a JSON schema."""


def page() -> str:
    return HEAD + "\n".join(line for kind in our_kinds() for line in section(kind)) + "\n"


def section(kind: Kind) -> Iterator[str]:
    (version,) = rendered(kind)["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    short = f" (`{'`, `'.join(kind.short_names)}`)" if kind.short_names else ""
    yield f"\n## {kind.name}{short}\n"
    yield f"{one_line(schema.get('description', ''))}\n"
    for part in ("spec", "status"):
        yield f"| {part} | type | default | meaning |"
        yield "|---|---|---|---|"
        for path, field, is_required in fields(schema["properties"][part], ""):
            yield f"| `{path}` | {type_of(field)} | {default_of(field, is_required)} | {meaning_of(field)} |"
        yield ""
    rules = list(dict.fromkeys(rules_of(schema)))  # the type of a field brings its rule to every place
    if rules:
        yield "Rules:\n"
        yield from (f"- {rule}" for rule in rules)


def fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema, bool]]:
    """Depth first, in the order in which they are written."""
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        yield here, field, name in schema.get("required", ())
        inside, suffix = field, ""
        while "items" in inside or isinstance(inside.get("additionalProperties"), dict):
            is_list = "items" in inside
            inside = inside["items"] if is_list else inside["additionalProperties"]
            suffix += "[]" if is_list else ".*"
        if not is_pod_spec(inside):
            yield from fields(inside, here + suffix)


def is_pod_spec(schema: Schema) -> bool:
    return "containers" in schema.get("properties", {})


def type_of(field: Schema) -> str:
    if "enum" in field:
        return " or ".join(f"`{one}`" for one in field["enum"] if one != "")
    if field.get("x-kubernetes-int-or-string"):
        return "number or text"
    if "items" in field:
        return f"list of {type_of(field['items'])}"
    if isinstance(field.get("additionalProperties"), dict):
        return f"mapping to {type_of(field['additionalProperties'])}"
    return {"string": "text", "integer": "whole number", "boolean": "true or false"}.get(
        field.get("type", ""), field.get("type", "anything")
    )


def default_of(field: Schema, is_required: bool) -> str:
    if is_required:
        return "**required**"
    return f"`{json.dumps(field['default'])}`" if "default" in field else ""


def meaning_of(field: Schema) -> str:
    bounds = [
        f"{word} {field[name]}"
        for name, word in (("minimum", "at least"), ("maximum", "at most"), ("maxItems", "entries: at most"))
        if name in field
    ]
    text = one_line(field.get("description", ""))
    return f"{text} ({', '.join(bounds)})" if bounds else text


def rules_of(schema: Schema) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield rule["message"]
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from rules_of(schema[name])
    for field in schema.get("properties", {}).values():
        if not is_pod_spec(field):
            yield from rules_of(field)


def one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201  the output is the program's purpose
