"""The page that tells people what to allow is the table in the code."""

from __future__ import annotations

from matrixinfer.handlers.admission.settings import AdmissionSettings
from matrixinfer.handlers.cluster.kubernetes.rbac import Rule, admission_rules, admission_secret_rules, rules
from support.checkout import ROOT


def row(rule: Rule) -> str:
    groups = ", ".join(group or "core" for group in rule.groups)
    return f"| {groups} | {', '.join(rule.resources)} | {', '.join(rule.verbs)} | {rule.why} |"


def test_the_page_has_every_rule():
    lines = (ROOT / "docs" / "kubernetes.md").read_text().splitlines()
    assert [row(rule) for rule in rules() if row(rule) not in lines] == []


def test_the_page_has_every_rule_of_the_webhooks_with_the_objects_that_it_names():
    settings = AdmissionSettings()
    cases = [("the cluster", rule) for rule in admission_rules(settings.configuration)]
    cases += [("its namespace", rule) for rule in admission_secret_rules(settings.secret)]
    lines = (ROOT / "docs" / "kubernetes.md").read_text().splitlines()
    for where, rule in cases:
        groups, names = ", ".join(group or "core" for group in rule.groups), ", ".join(f"`{n}`" for n in rule.names)
        resources, verbs = ", ".join(rule.resources), ", ".join(rule.verbs)
        assert f"| {where} | {groups} | {resources} | {names or 'any'} | {verbs} | {rule.why} |" in lines
