"""Pydantic's JSON schema becomes a structural schema, as an API server takes it. Pure.

Structural (Kubernetes, "Extend the Kubernetes API with CustomResourceDefinitions"): no references, a type for each
value, either named properties or `additionalProperties`, no alternatives of types. Unknown fields are pruned or refused
by the server and need no mention.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

_KEPT = (
    "type",
    "description",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-validations",
)
_ANYTHING = {"x-kubernetes-preserve-unknown-fields": True}


def structural(type_: type[BaseModel]) -> Schema:
    """The schema of a type, with everything that it refers to written out."""
    schema = type_.model_json_schema()
    return _structural(schema, schema.get("$defs", {}))


def _structural(schema: Schema, definitions: Schema) -> Schema:
    schema = _resolved(schema, definitions)
    if "const" in schema:
        schema = schema | {"enum": [schema["const"]]}
    result = {name: schema[name] for name in _KEPT if name in schema}
    if "exclusiveMinimum" in schema:  # OpenAPI 3.0: a flag beside the bound
        result |= {"minimum": schema["exclusiveMinimum"], "exclusiveMinimum": True}
    if "x-kubernetes-int-or-string" in schema or schema.get("type") in ("string", "integer", "number", "boolean"):
        return result | _default(schema)
    if schema.get("type") == "array":
        return result | {"items": _structural(schema.get("items", {}), definitions)}
    if schema.get("type") == "object":
        return result | _fields(schema, definitions)
    return {name: result[name] for name in ("description",) if name in result} | _ANYTHING


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    """Follows a reference, and takes the one alternative that is not null: absent and null mean the same to us. What is
    said beside a reference counts more than what is said there."""
    alternatives = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if len(alternatives) == 1:
        schema = {name: value for name, value in schema.items() if name != "anyOf"} | _without_text(alternatives[0])
    if "$ref" not in schema:
        return schema
    beside = {name: value for name, value in schema.items() if name != "$ref"}
    return _resolved(definitions[schema["$ref"].rpartition("/")[2]] | beside, definitions)


def _without_text(schema: Schema) -> Schema:
    return {name: value for name, value in schema.items() if name != "title"}


def _default(schema: Schema) -> Schema:
    """Of single values only: those inside an object that is absent are known to whoever reads it."""
    default = schema.get("default")
    return {} if default in (None, "") else {"default": default}


def _fields(schema: Schema, definitions: Schema) -> Schema:
    properties = schema.get("properties")
    if properties is None:
        by_pattern = schema.get("patternProperties", {})  # of a name's pattern a structural schema knows nothing
        values = next(iter(by_pattern.values())) if by_pattern else schema.get("additionalProperties", True)
        return _ANYTHING if values in (True, {}) else {"additionalProperties": _structural(values, definitions)}
    fields: Schema = {"properties": {name: _structural(value, definitions) for name, value in properties.items()}}
    return fields | ({"required": schema["required"]} if schema.get("required") else {})
