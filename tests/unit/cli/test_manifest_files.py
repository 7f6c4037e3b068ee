"""Which files `-f` means, and what is said when they are none."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from matrixinfer.cli.errors import CliError
from matrixinfer.cli.manifest_files import joined, named_in, read_texts

MODEL = "kind: Model\napiVersion: matrixinfer.ai/v1alpha1\nmetadata: {name: %s}\nspec: {backends: [%s]}\n"
GOOD = MODEL % ("m", "{name: a, type: Simulated}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "below").mkdir()
    for name in ("b.yaml", "a.yml", "c.json", "notes.md", "below/d.yaml"):
        (tmp_path / name).write_text(f"# {name}")
    return tmp_path


def test_a_folder_is_its_manifests_in_order_and_those_below_only_when_asked_for(folder: Path) -> None:
    assert list(read_texts([str(folder)], False).values()) == ["# a.yml", "# b.yaml", "# c.json"]
    assert list(read_texts([str(folder)], True).values()) == ["# a.yml", "# b.yaml", "# below/d.yaml", "# c.json"]


def test_what_is_named_twice_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("# stdin"))
    texts = read_texts(["-", str(folder / "b.yaml"), "-", str(folder)], False)
    assert list(texts.values()) == ["# stdin", "# b.yaml", "# a.yml", "# c.json"]


def test_a_folder_without_manifests_says_what_was_expected(folder: Path) -> None:
    (folder / "below" / "d.yaml").rename(folder / "below" / "d.txt")
    with pytest.raises(CliError, match=r"files that end in .yaml, .yml, .json; with -R also"):
        read_texts([str(folder / "below")], False)
    with pytest.raises(CliError, match=r".json$"):
        read_texts([str(folder / "below")], True)


def test_what_is_wrong_in_several_files_is_said_with_the_name_of_each() -> None:
    texts = {"one": MODEL % ("m", ""), "two": GOOD, "three": "kind: Modal"}
    with pytest.raises(CliError) as caught:
        joined(texts, "default")
    first, second = str(caught.value).split("; three: ")
    assert first.startswith("one: document 1 (Model m): spec.backends: expected 1 or more entries")
    assert second.startswith("document 1: kind: expected one of")


def test_texts_are_joined_as_documents() -> None:
    assert named_in({"all": joined({"one": GOOD, "two": GOOD.replace("m}", "n, namespace: x}")}, "default")}, "y") == [
        ("Model", "y", "m"),
        ("Model", "x", "n"),
    ]
