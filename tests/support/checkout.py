"""The checkout as the tests of the architecture see it: its files without caches, environments and links."""

from __future__ import annotations

import ast
import functools
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("bus", "handlers", "gateway", "agents")
NAMESPACE = ROOT / "src" / "matrixinfer"

_NOT_OURS = {"__pycache__", "build", "dist", "node_modules"}
_HIDDEN_BUT_OURS = {".ci"}


def files(root: Path = ROOT) -> Iterator[Path]:
    """Every file of the checkout, each once: links, hidden folders and what tools made are left out."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(
            name
            for name in folders
            if name not in _NOT_OURS
            and not name.endswith(".egg-info")
            and (not name.startswith(".") or name in _HIDDEN_BUT_OURS)
            and not (Path(folder) / name).is_symlink()
        )
        yield from (Path(folder) / name for name in sorted(names) if not name.endswith(".pyc"))


@functools.cache
def source_files() -> tuple[Path, ...]:
    """Every Python module of the platform: the four parts and the namespace's own files."""
    folders = [*(ROOT / part for part in PARTS), NAMESPACE]
    return tuple(path for folder in folders for path in files(folder) if path.suffix == ".py")


@functools.cache
def files_of_tests() -> tuple[Path, ...]:
    return tuple(path for path in files(ROOT / "tests") if path.suffix == ".py")


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def name(path: Path) -> str:
    """How a failure names the file."""
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    """The dotted name under which the platform imports this source file."""
    relative = path.relative_to(NAMESPACE if path.is_relative_to(NAMESPACE) else ROOT).with_suffix("")
    parts = ("matrixinfer", *relative.parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
