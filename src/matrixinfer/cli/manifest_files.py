"""What `-f` names: files, folders and stdin become the text of their objects."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from matrixinfer.cli.errors import CliError

ENDINGS = (".yaml", ".yml", ".json")


def read_text(filename: str) -> str:
    """The text of a file, or of stdin for `-`. Raises CliError for what is not text."""
    try:
        return sys.stdin.read() if filename == "-" else Path(filename).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CliError(
            f"{filename}: expected a manifest in UTF-8, met byte {error.object[error.start]:#04x}"
        ) from error


def read_texts(filenames: Iterable[str], recursive: bool) -> dict[str, str]:
    """By file, in the order in which they were named; those of a folder by name. Raises CliError."""
    texts: dict[str, str] = {}
    for name in (name for filename in filenames for name in _files(filename, recursive)):
        if name not in texts:  # stdin can be read once only
            texts[name] = read_text(name)
    return texts


def joined(texts: dict[str, str], namespace: str) -> str:
    """One text of all. Of several files, what is wrong is said with the name of each: raises CliError."""
    from matrixinfer.handlers.api.manifests import parse_manifests
    from matrixinfer.handlers.errors import BadManifest

    if len(texts) == 1:  # whoever applies it says the same
        return next(iter(texts.values()))
    problems: list[str] = []
    for name, text in texts.items():
        try:
            parse_manifests(text, namespace)
        except BadManifest as error:
            problems += (f"{name}: {problem}" for problem in error.problems)
    if problems:
        raise CliError("; ".join(problems))
    return "\n---\n".join(texts.values())


def named_in(texts: dict[str, str], namespace: str) -> list[tuple[str, str, str]]:
    """Kind, namespace and name of every object; nothing else of it need be right. Raises CliError."""
    return [one for name, text in texts.items() for one in _named_in(name, text, namespace)]


def _named_in(filename: str, text: str, namespace: str) -> Iterator[tuple[str, str, str]]:
    import yaml

    try:
        for document in yaml.safe_load_all(text):
            if document is not None:
                metadata = document["metadata"]
                yield document["kind"], metadata.get("namespace") or namespace, metadata["name"]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise CliError(f"{filename}: expected YAML objects with kind and metadata.name: {error}") from error


def _files(filename: str, recursive: bool) -> list[str]:
    folder = Path(filename)
    if filename == "-" or not folder.is_dir():
        return [filename]
    found = sorted(path for path in folder.glob("**/*" if recursive else "*") if path.suffix in ENDINGS)
    if not found:
        advice = "" if recursive else "; with -R also in the folders below"
        raise CliError(f"{filename}: expected a folder with files that end in {', '.join(ENDINGS)}{advice}")
    return [str(path) for path in found]
