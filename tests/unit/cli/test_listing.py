"""Rows that come later stand below those that were there; documents stay apart."""

from __future__ import annotations

import json

import pytest
import yaml

from matrixinfer.cli.listing import Documents, Manifest, Output, Rows


def pod(name: str, phase: str = "Running") -> Manifest:
    return {"kind": "Pod", "metadata": {"name": name, "uid": name}, "spec": {}, "status": {"phase": phase}}


def test_later_rows_have_no_header_and_keep_the_columns(capsys: pytest.CaptureFixture[str]) -> None:
    rows = Rows(False)
    rows.add([], 0.0)
    rows.add([pod("a-pod-with-a-long-name"), pod("b")], 0.0)
    rows.add([pod("c", "Pending")], 0.0)
    rows.add([pod("c")], 0.0, is_gone=True)
    header, *lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    at = header.index("STATUS")
    assert [line[at:].split()[0] for line in lines] == ["Running", "Running", "Pending", "Running"]
    assert [line.endswith("(deleted)") for line in lines] == [False, False, False, True]


def test_documents_say_what_happened_when_they_are_asked_to(capsys: pytest.CaptureFixture[str]) -> None:
    documents = Documents(Output.JSON, with_events=True)
    for is_gone in (False, False, True):
        documents.add([pod("a")], 0.0, is_gone=is_gone)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["type"] for one in told] == ["ADDED", "MODIFIED", "DELETED"]
    plain = Documents(Output.YAML, with_events=False)
    plain.add([pod("a"), pod("b")], 0.0)
    assert list(yaml.safe_load_all(capsys.readouterr().out)) == [pod("a"), pod("b")]
