"""The lines to paste work in the shell they are shown in."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from matrixinfer.up import record
from matrixinfer.up.greeting import chat

URL = "http://127.0.0.1:8080"


def _program(folder: Path) -> Path:
    script = folder / "matrixinfer"
    script.write_text("#!/bin/sh\necho called with $@\n")
    script.chmod(0o755)
    return script


def test_the_name_is_enough_when_the_path_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chat(URL, record.default_data_dir()) == "matrixinfer chat"
    assert chat(URL, tmp_path) == f"matrixinfer chat --url {URL}"


def test_the_script_beside_the_interpreter_is_named_when_the_path_has_it_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "with a space"
    folder.mkdir()
    _program(folder)
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    line = chat(URL, tmp_path)
    called = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True, timeout=10)
    assert called.stdout == f"called with chat --url {URL}\n"


def test_the_interpreter_is_named_when_there_is_no_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert shlex.split(chat(URL, tmp_path))[:4] == [str(tmp_path / "python"), "-m", "matrixinfer", "chat"]
