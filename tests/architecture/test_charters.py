"""Every package says what belongs in it, every module why it exists, every error tree is drawn, no name is a drawer."""

import ast

from support.checkout import ROOT, files, name, source_files, tree

DRAWERS = {"utils", "util", "helpers", "helper", "common", "base", "manager", "managers", "misc", "shared", "core"}
PACKAGES = [path for path in source_files() if path.name == "__init__.py"]
MODULES = [path for path in source_files() if path.name != "__init__.py"]


def test_every_package_has_a_charter():
    charters = {name(path): ast.get_docstring(tree(path)) or "" for path in PACKAGES}
    short = {path for path, charter in charters.items() if len(charter.splitlines()) < 2}
    assert short == set(), "say what belongs here, what does not, and who may import it"


def test_every_module_says_why_it_exists():
    silent = {name(path) for path in MODULES if not ast.get_docstring(tree(path))}
    assert silent == set(), "begin with a docstring of one to six lines"


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for path in source_files()}
    assert {name(folder) for folder in folders if not (folder / "__init__.py").exists()} == set()


def test_no_module_or_folder_is_a_drawer_for_anything():
    inside = [path.relative_to(ROOT) for path in files() if path.suffix == ".py"]
    assert {part.removesuffix(".py") for path in inside for part in path.parts} & DRAWERS == set()


def test_every_setting_says_its_effect():
    settings = [path for path in MODULES if path.name == "settings.py"]
    assert settings
    silent = {field for path in settings for field in fields_without_a_text(tree(path))}
    assert silent == set(), "follow each field with a string: effect, unit, what None means, why this default"


def test_the_errors_of_a_part_are_drawn_at_the_top_of_its_errors():
    modules = [path for path in MODULES if path.name == "errors.py"]
    assert modules
    assert {f"{name(path)}:{error}" for path in modules for error in errors_not_drawn(tree(path))} == set()


def fields_without_a_text(module: ast.Module) -> list[str]:
    silent = []
    for record in (node for node in ast.walk(module) if isinstance(node, ast.ClassDef)):
        for field, after in zip(record.body, [*record.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and not is_text(after):
                silent.append(f"{record.name}.{ast.unparse(field.target)}")
    return silent


def errors_not_drawn(module: ast.Module) -> list[str]:
    drawing = ast.get_docstring(module) or ""
    return [node.name for node in module.body if isinstance(node, ast.ClassDef) and node.name not in drawing]


def is_text(node: ast.stmt | None) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
