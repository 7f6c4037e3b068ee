"""Rules about several fields of a resource in CEL, for an API server that has no other way to know them.

Each stands in `RULES` of the type that has the validator which says the same: what the one refuses, the other refuses.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Rule(NamedTuple):
    """`cel` is about `self`, an object with its defaults filled in; `message` is what people read when it is false."""

    cel: str
    message: str


def with_rules(schema: dict[str, Any], type_: type[Any]) -> None:
    """Put the rules of a type into its JSON schema. Any: a schema, and pydantic's classes."""
    rules: tuple[Rule, ...] = getattr(type_, "RULES", ())
    if rules:
        schema |= in_schema(*rules)


def in_schema(*rules: Rule) -> dict[str, Any]:
    """What a JSON schema says of them, as an API server takes it."""
    return {"x-kubernetes-validations": [{"rule": rule.cel, "message": rule.message} for rule in rules]}
