"""What the documents tell people to type exists, what they point to is there, and the examples can be read."""

import functools
import os
import re
import shlex
import subprocess
import sys

import pytest

from matrixinfer.handlers.api.manifests import parse_manifests
from support.checkout import ROOT, files, name, source_files

DOCUMENTS = [path for path in files() if path.suffix == ".md"]
EXAMPLES = [path for path in files(ROOT / "examples") if path.suffix == ".yaml"]
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
BLOCKS = re.compile(r"^```(?:console|sh|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
IN_TEXT = re.compile(r"`((?:\.venv/bin/)?matrixinfer [^`]+|make [^`]+)`")
ANY_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def commands(text: str) -> list[list[str]]:
    """What a reader would type: the lines of console blocks, and the commands named in the text."""
    lines = [line for block in BLOCKS.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True) for line in [*lines, *IN_TEXT.findall(ANY_FENCE.sub("", text))]]


def commands_of_example(text: str) -> list[list[str]]:
    """Those in its comments, each in a line of its own."""
    return [shlex.split(line) for line in re.findall(r"^# +(matrixinfer .*)", text, re.MULTILINE)]


ALL_COMMANDS = [
    *(words for path in DOCUMENTS for words in commands(path.read_text()) if words),
    *(words for path in EXAMPLES for words in commands_of_example(path.read_text())),
]
OURS = sorted({tuple(words[1:]) for words in ALL_COMMANDS if words[0].endswith("matrixinfer")})


@functools.cache
def help_of(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "matrixinfer", *command, "--help"],
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
        check=False,
        capture_output=True,
        text=True,
    )


def test_the_documents_name_commands():
    assert OURS
    assert any(words[0] == "make" for words in ALL_COMMANDS)


def test_every_make_target_that_a_document_names_exists():
    named = {words[1] for words in ALL_COMMANDS if words[0] == "make" and len(words) > 1}
    assert named - TARGETS == set()


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_every_command_that_a_document_names_exists_with_its_options(words):
    help_page = help_of(words[0])
    assert help_page.returncode == 0, help_page.stderr
    missing = {word for word in words[1:] if word.startswith("-") and word.split("=")[0] not in help_page.stdout}
    assert not missing


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_file_that_a_document_points_to_is_there(path):
    broken = {target for target in LINK.findall(path.read_text()) if not (path.parent / target).exists()}
    assert not broken


def test_the_page_of_the_architecture_has_a_line_for_every_package():
    rows = re.findall(r"^\| `([\w/]+)` \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    packages = {
        name(path.parent).removeprefix("src/matrixinfer/") for path in source_files() if path.stem == "__init__"
    }
    assert set(rows) <= packages
    assert packages - set(rows) == {"handlers", "agents", "src/matrixinfer"}, "their charters say it"


@pytest.mark.parametrize(
    ("script", "page"), [("settings_table.py", "settings.md"), ("resources_page.py", "resources.md")]
)
def test_a_page_that_is_made_from_the_code_is_current(script, page):
    made = subprocess.run(
        [sys.executable, ROOT / "scripts" / script],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=True,
        capture_output=True,
        text=True,
    )
    assert made.stdout == (ROOT / "docs" / page).read_text(), "run `make docs`"


def test_there_is_an_example():
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=name)
def test_an_example_is_a_manifest_that_can_be_applied(path):
    assert parse_manifests(path.read_text())


def test_the_first_request_asks_for_the_model_that_the_example_serves():
    readme = (ROOT / "README.md").read_text()
    (model,) = set(re.findall(r"\"?model\"?[:=] ?\"([\w.-]+)\"", readme))
    assert model in {resource.metadata.name for path in EXAMPLES for resource in parse_manifests(path.read_text())}
