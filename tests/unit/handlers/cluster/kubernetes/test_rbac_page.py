"""The page that tells people what to allow is the table in the code."""

from __future__ import annotations

from matrixinfer.handlers.cluster.kubernetes.rbac import Rule, rules
from support.checkout import ROOT


def row(rule: Rule) -> str:
    groups = ", ".join(group or "core" for group in rule.groups)
    return f"| {groups} | {', '.join(rule.resources)} | {', '.join(rule.verbs)} | {rule.why} |"


def test_the_page_has_every_rule():
    lines = (ROOT / "docs" / "kubernetes.md").read_text().splitlines()
    assert [row(rule) for rule in rules() if row(rule) not in lines] == []
