"""Every package says what belongs in it, every module why it exists, every error tree is drawn, no name is a drawer."""

import ast

import pytest

from support.checkout import ROOT, files, name, source_files, tree

DRAWERS = {"utils", "util", "helpers", "helper", "common", "base", "manager", "managers", "misc", "shared", "core"}
PACKAGES = [path for path in source_files() if path.name == "__init__.py"]
MODULES = [path for path in source_files() if path.name != "__init__.py"]
SETTINGS = [path for path in MODULES if path.name == "settings.py"]
ERRORS = [path for path in MODULES if path.name == "errors.py"]


@pytest.mark.parametrize("path", PACKAGES, ids=name)
def test_a_package_has_a_charter(path):
    charter = ast.get_docstring(tree(path)) or ""
    assert len(charter.splitlines()) >= 2, "say what belongs here, what does not, and who may import it"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_says_why_it_exists(path):
    assert ast.get_docstring(tree(path)), "begin with a docstring of one to six lines"


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for path in source_files()}
    assert not {name(folder) for folder in folders if not (folder / "__init__.py").exists()}


def test_no_module_or_folder_is_a_drawer_for_anything():
    inside = [path.relative_to(ROOT) for path in files() if path.suffix == ".py"]
    names = {part.removesuffix(".py") for path in inside for part in path.parts}
    assert not names & DRAWERS


@pytest.mark.parametrize("path", SETTINGS, ids=name)
def test_every_setting_says_its_effect(path):
    silent = []
    for record in (node for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)):
        for field, after in zip(record.body, [*record.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and not is_text(after):
                silent.append(f"{record.name}.{ast.unparse(field.target)}")
    assert not silent, "follow each field with a string: effect, unit, what None means, why this default"


@pytest.mark.parametrize("path", ERRORS, ids=name)
def test_the_errors_of_a_part_are_drawn_at_the_top(path):
    drawing = ast.get_docstring(tree(path)) or ""
    classes = {node.name for node in tree(path).body if isinstance(node, ast.ClassDef)}
    assert {error for error in classes if error not in drawing} == set()


def is_text(node: ast.stmt | None) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
