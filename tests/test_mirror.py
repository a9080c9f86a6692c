"""The tests mirror the source: whoever changes a file knows where its tests are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.layers import SHIPPED

ROOT = Path(__file__).parent.parent
FOLDERS = (*SHIPPED, "simulations")
LINES = 40
"""A source of more lines than this has a test module of its own."""


def mirrored() -> Iterator[str]:
    """Every source that needs one, relative to the root."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            lines = path.read_text(encoding="utf-8").count("\n")
            if not path.name.startswith("__") and lines > LINES:
                yield path.relative_to(ROOT).as_posix()


def mirror_of(source: str) -> str:
    """Where the tests of a source lie: onionshh/net/tcp.py and relay/switch.py have theirs in
    tests/net/test_tcp.py and tests/relay/test_switch.py."""
    folder, _, name = source.removeprefix("onionshh/").rpartition("/")
    return "/".join(("tests", *([folder] if folder else []), f"test_{name}"))


def imported(tree: ast.AST) -> set[str]:
    """The modules that a file imports, or takes something from."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
    return found


def module_of(source: str) -> str:
    """By what name a source is imported."""
    name = source.removesuffix(".py").replace("/", ".")
    return name if name.startswith(("onionshh.", "simulations.")) else f"onionshh.{name}"


@pytest.mark.parametrize("source", list(mirrored()))
def test_every_source_has_its_test_module_which_takes_something_from_it(source: str) -> None:
    path = ROOT / mirror_of(source)
    there = path.exists()
    if there:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        tests = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        ]
        there = bool(tests) and module_of(source) in imported(tree)
    assert there, f"{source} needs {mirror_of(source)}, with tests, which imports it"
