"""Modules and functions stay small enough to be read in one sitting (CONTRIBUTING.md, style)."""

import ast
from collections.abc import Iterator

from support.checkout import files_of_tests, name, source_files, tree

MODULE_LINES = 400
FUNCTION_LINES = 50
ALL = [*source_files(), *files_of_tests()]


def functions(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Each function's name and its lines, its docstring not counted."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, height(node) - (height(node.body[0]) if ast.get_docstring(node) is not None else 0)


def height(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_there_are_modules_to_measure():
    assert len(source_files()) > 100


def test_no_module_has_more_than_400_lines():
    lines = {name(path): len(path.read_text().splitlines()) for path in ALL}
    assert {path: count for path, count in lines.items() if count > MODULE_LINES} == {}, "split it by noun"


def test_no_function_has_more_than_50_lines():
    lines = {f"{name(path)}:{function}": count for path in ALL for function, count in functions(tree(path))}
    assert {function: count for function, count in lines.items() if count > FUNCTION_LINES} == {}
