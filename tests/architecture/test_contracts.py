"""The import contracts of pyproject.toml hold, would notice it if they did not, and leave no deciding module out."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

from support.checkout import NAMESPACE, PARTS, ROOT, files

CONTRACTS = {
    contract["id"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
PURE = CONTRACTS["purity"]
DECIDING = ("handlers.dispatch", "handlers.reconcile", "gateway.pipeline", "agents.worker", "agents.engines.simulated")
"""Packages whose modules either decide or act, and must be told apart."""

NOT_DECIDING = {"settings", "errors", "main", "__init__", "stored_blocks"}

LEAKS = {
    "layers": ("gateway/pipeline/routing.py", "from matrixinfer.handlers import api"),
    "purity": ("bus/subjects.py", "import asyncio"),
    "nats": ("agents/worker/__init__.py", "import nats"),
}


def test_every_import_contract_is_kept():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("contract", LEAKS)
def test_a_forbidden_import_breaks_its_contract(tmp_path, contract):
    copy_of_the_sources(tmp_path)
    path, leak = LEAKS[contract]
    with (tmp_path / path).open("a") as module:
        module.write(f"\n{leak}\n")
    result = lint_imports(tmp_path, contract)
    assert result.returncode == 1, result.stdout + result.stderr
    assert re.search(r"Contracts: 0 kept, 1 broken", result.stdout)


def test_every_deciding_module_is_under_the_purity_contract():
    graph = grimp.build_graph("matrixinfer", include_external_packages=True, cache_dir=None)
    listed = set(PURE["source_modules"])
    deciding = {module for module in graph.modules if is_in_a_deciding_package(module)}
    pure = {module for module in deciding if not reaches(graph, module, PURE["forbidden_modules"])}
    assert pure - listed == set(), "add them to the purity contract in pyproject.toml"


def reaches(graph: grimp.ImportGraph, module: str, forbidden: list[str]) -> bool:
    return any(name in graph.modules and graph.find_shortest_chain(module, name) for name in forbidden)


def is_in_a_deciding_package(module: str) -> bool:
    package, _, last = module.removeprefix("matrixinfer.").rpartition(".")
    return (
        package.startswith(DECIDING)
        and last not in NOT_DECIDING
        and (ROOT / package.replace(".", "/") / f"{last}.py").exists()
    )


def lint_imports(root: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    chosen = [argument for contract in contracts for argument in ("--contract", contract)]
    return subprocess.run(
        [sys.executable, "-c", command, "--no-cache", "--no-logo", "--config", "pyproject.toml", *chosen],
        cwd=root,
        env={**os.environ, "PYTHONPATH": "src"},
        check=False,
        capture_output=True,
        text=True,
    )


def copy_of_the_sources(target: Path) -> None:
    for folder in (*(ROOT / part for part in PARTS), NAMESPACE):
        for path in files(folder):
            place = target / path.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    for part in PARTS:
        (target / "src/matrixinfer" / part).symlink_to(Path("../..") / part)
    shutil.copyfile(ROOT / "pyproject.toml", target / "pyproject.toml")
