"""How large a function, a class and the reach of a test may be: what grows past it is two things in one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.layers import SHIPPED

ROOT = Path(__file__).parent.parent
FUNCTION_LINES = 60
ATTRIBUTES = 12
"""Of one class, outside frozen records, named tuples and enums."""
PRIVATE_ACCESSES = 50
"""How often tests may reach for what begins with an underscore in an object of ours."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def trees(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def too_long(tree: ast.AST) -> list[str]:
    """Functions of more lines than one may have, docstring included."""
    return [
        f"{node.name} has {lines} lines"
        for node in ast.walk(tree)
        if isinstance(node, Function) and node.end_lineno is not None
        if (lines := node.end_lineno - node.lineno + 1) > FUNCTION_LINES
    ]


def too_many(tree: ast.AST) -> list[str]:
    """Classes of more attributes than one may have."""
    return [
        f"{node.name} has {len(found)} attributes"
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and not _is_record(node)
        if len(found := attributes(node)) > ATTRIBUTES
    ]


def attributes(node: ast.ClassDef) -> set[str]:
    """What is stored in `self`, declared in the body or named in the slots."""
    found = {
        part.attr
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store) and _is_self(part.value)
    }
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found.add(statement.target.id)
        elif isinstance(statement, ast.Assign) and any(_named(one, "__slots__") for one in statement.targets):
            found |= {str(part.value) for part in ast.walk(statement.value) if isinstance(part, ast.Constant)}
    return found


def own_private_names() -> set[str]:
    """Every private name that the shipped code defines: attributes, functions, classes, constants."""
    found: set[str] = set()
    for _, tree in trees(*SHIPPED, "simulations"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and _is_self(node.value):
                found.add(node.attr)
            elif isinstance(node, Function | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
    return {name for name in found if name.startswith("_") and not name.startswith("__")}


def private_accesses(tree: ast.AST, private: set[str]) -> int:
    """`thing._name`, `from module import _name` and `setattr(thing, "_name", …)`."""
    count = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            count += node.attr in private and not _is_self(node.value)
        elif isinstance(node, ast.ImportFrom):
            count += sum(one.name in private for one in node.names)
        elif isinstance(node, ast.Call) and _sets_attribute(node.func):
            count += sum(isinstance(one, ast.Constant) and one.value in private for one in node.args)
    return count


def _sets_attribute(function: ast.AST) -> bool:
    return isinstance(function, ast.Attribute) and function.attr == "setattr"


def _is_record(node: ast.ClassDef) -> bool:
    frozen = any("frozen=True" in ast.unparse(one) for one in node.decorator_list)
    return frozen or any(ast.unparse(base).split(".")[-1] in _RECORDS for base in node.bases)


_RECORDS = frozenset(("NamedTuple", "Enum", "IntEnum", "StrEnum"))


def _is_self(node: ast.AST) -> bool:
    return _named(node, "self") or _named(node, "cls")


def _named(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def test_no_function_is_too_long_and_no_class_too_wide() -> None:
    found = [
        f"{path}: {said}" for path, tree in trees(*SHIPPED) for said in (*too_long(tree), *too_many(tree))
    ]
    assert found == []


def test_tests_reach_behaviour_through_public_names() -> None:
    private = own_private_names()
    counts = {path: private_accesses(tree, private) for path, tree in trees("tests")}
    assert sum(counts.values()) < PRIVATE_ACCESSES, {path: n for path, n in counts.items() if n}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f():\n" + "    x = 1\n" * 60, ["f has 61 lines"]),
        ("def f():\n" + "    x = 1\n" * 59, []),
        ("async def f():\n" + "    x = 1\n" * 60, ["f has 61 lines"]),
    ],
)
def test_a_function_that_is_too_long_is_found(source: str, said: list[str]) -> None:
    assert too_long(ast.parse(source)) == said


def test_a_class_that_is_too_wide_is_found_however_it_says_so() -> None:
    stores = "\n".join(f"        self.a{n} = {n}" for n in range(13))
    fields = "\n".join(f"    a{n}: int" for n in range(13))
    slots = ", ".join(f'"a{n}"' for n in range(13))
    wide = [
        f"class C:\n    def __init__(self):\n{stores}",
        f"class C:\n{fields}",
        f"class C:\n    __slots__ = ({slots})",
        f"@dataclass(slots=True)\nclass C:\n{fields}",
    ]
    for source in wide:
        assert too_many(ast.parse(source)) == ["C has 13 attributes"]
    for record in (f"@dataclass(frozen=True)\nclass C:\n{fields}", f"class C(NamedTuple):\n{fields}"):
        assert too_many(ast.parse(record)) == []


def test_an_access_to_a_private_name_is_found() -> None:
    source = "x._a\nself._a\nfrom m import _b\nmonkeypatch.setattr(x, '_a', 1)\nx.a\nx._c"
    assert private_accesses(ast.parse(source), {"_a", "_b"}) == 3
