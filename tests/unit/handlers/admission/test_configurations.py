"""The configurations that `matrixinfer webhooks` prints, and how they are told whom to trust."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from matrixinfer.cli.app import app
from matrixinfer.handlers.admission.configurations import Wanted, configurations, trusting
from matrixinfer.handlers.api.crds.render import our_kinds


def printed(*flags: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["webhooks", *flags])
    assert result.exit_code == 0, result.stderr
    return list(yaml.safe_load_all(result.stdout))


@pytest.mark.parametrize("configuration", printed(), ids=lambda one: one["kind"])
def test_every_kind_of_ours_is_asked_about_when_it_is_made_and_changed(configuration: dict[str, Any]) -> None:
    (webhook,) = configuration["webhooks"]
    (rule,) = webhook["rules"]
    assert rule["resources"] == sorted(kind.plural for kind in our_kinds())
    assert rule["operations"] == ["CREATE", "UPDATE"]
    assert (webhook["sideEffects"], webhook["matchPolicy"], webhook["failurePolicy"]) == ("None", "Equivalent", "Fail")
    assert webhook["timeoutSeconds"] == 5
    service = {"namespace": "matrixinfer", "name": "matrixinfer-admission", "port": 443}
    assert webhook["clientConfig"]["service"].items() >= service.items()


def test_flags_say_where_who_and_what_if_not(tmp_path) -> None:
    (tmp_path / "ca.crt").write_bytes(b"pem")
    flags = ("--url", "https://10.0.0.1:8443/", "--failure-policy", "Ignore", "--timeout", "2")
    mutating, validating = printed(*flags, "--ca", str(tmp_path / "ca.crt"), "--cert-manager", "ns/webhook")
    assert mutating["metadata"]["annotations"] == {"cert-manager.io/inject-ca-from": "ns/webhook"}
    (webhook,) = validating["webhooks"]
    assert webhook["clientConfig"] == {
        "url": "https://10.0.0.1:8443/validate",
        "caBundle": base64.b64encode(b"pem").decode(),
    }
    assert (webhook["failurePolicy"], webhook["timeoutSeconds"]) == ("Ignore", 2)


def test_webhooks_of_ours_are_told_whom_to_trust_once_and_others_are_left_alone() -> None:
    mutating, _ = configurations(Wanted())
    other = {"name": "theirs.example.com", "clientConfig": {"caBundle": "x"}}
    both = mutating | {"webhooks": [*mutating["webhooks"], other]}
    told = trusting(both, b"pem")
    assert told is not None
    assert told["webhooks"][0]["clientConfig"]["caBundle"] == base64.b64encode(b"pem").decode()
    assert told["webhooks"][1] == other
    assert trusting(told, b"pem") is None
