"""Modules and functions stay small enough to be read in one sitting (CONTRIBUTING.md, style)."""

import ast
from collections.abc import Iterator

import pytest

from support.checkout import files_of_tests, name, source_files, tree

MODULE_LINES = 400
FUNCTION_LINES = 50


def functions(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Each function's name and its lines without decorators and docstring."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                lines -= (first.end_lineno or first.lineno) - first.lineno + 1
            yield node.name, lines


@pytest.mark.parametrize("path", [*source_files(), *files_of_tests()], ids=name)
def test_a_module_has_at_most_400_lines(path):
    assert len(path.read_text().splitlines()) <= MODULE_LINES, "split it by noun"


@pytest.mark.parametrize("path", [*source_files(), *files_of_tests()], ids=name)
def test_a_function_has_at_most_50_lines(path):
    too_long = {function: lines for function, lines in functions(tree(path)) if lines > FUNCTION_LINES}
    assert not too_long
