"""Which requests a rule is for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from matrixinfer.bus.contracts.serving import Rule, TextMatch
from matrixinfer.bus.errors import Malformed
from matrixinfer.bus.patterns import matcher

Accepts = Callable[[str], bool]


class Conditions(NamedTuple):
    """All must hold. Header names are in lower case."""

    headers: tuple[tuple[bytes, bytes], ...] = ()
    header_matches: tuple[tuple[bytes, Accepts], ...] = ()
    path: Accepts | None = None
    model: str = ""

    def hold(self, model: str, headers: Mapping[bytes, bytes], path: str) -> bool:
        if self.model and self.model != model:
            return False
        if self.path is not None and not self.path(path):
            return False
        if any(headers.get(name) != value for name, value in self.headers):
            return False
        return all(
            name in headers and accepts(headers[name].decode(errors="replace")) for name, accepts in self.header_matches
        )


def conditions_of(rule: Rule) -> Conditions | None:
    """None for a rule that is for every request."""
    conditions = Conditions(
        tuple((name.lower().encode(), value.encode()) for name, value in rule.headers.items()),
        tuple((name.lower().encode(), _accepting(match)) for name, match in rule.header_matches.items()),
        None if rule.path is None else _accepting(rule.path),
        rule.model,
    )
    return None if conditions == Conditions() else conditions


def _accepting(match: TextMatch) -> Accepts:
    """Admission has compiled the pattern before; one that does not compile here was written by another version."""
    text = match.text
    if match.how == "exact":
        return lambda met: met == text
    if match.how == "prefix":
        return lambda met: met.startswith(text)
    if match.how == "regex":
        try:
            return matcher(text)
        except Malformed:
            return lambda _: False
    return lambda _: False
