"""Programs beside the product that people start, such as benchmarks, say how, and do nothing else then."""

from __future__ import annotations

import ast
import importlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks import measured

ROOT = Path(__file__).parent.parent
FOLDERS = ("simulations", "tests/benchmarks", "tests/vectors")
STARTED_BY_OTHERS = {"tests.benchmarks.hour.visitor"}
"""Started with what its starter knows; it takes every argument for an address."""


def programs() -> Iterator[str]:
    """Every module that says of itself how it is started."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            if f"python -m {name.removesuffix('.__main__')}" in told and not name.endswith("__init__"):
                yield name


def test_those_that_people_start_are_found() -> None:
    found = set(programs())
    assert found >= STARTED_BY_OTHERS
    own = {
        f"tests.benchmarks.{name}" for name in ("board_sizes", "boards", "hour.__main__", "junk", "mailboxes")
    }
    assert found >= own | {"simulations.exposure", "simulations.first_link", "tests.vectors.make"}


@pytest.mark.parametrize("name", [*sorted({*programs()} - STARTED_BY_OTHERS), "tests.benchmarks.__main__"])
@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("--no-such-option", 2)])
def test_they_say_how_they_are_started(
    name: str,
    argument: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def starts(*_: object, **__: object) -> None:
        raise AssertionError("it begins to measure")

    module = importlib.import_module(name)
    monkeypatch.setattr("sys.argv", [name, argument])
    monkeypatch.setattr(subprocess, "Popen", starts)
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == status
    told = capsys.readouterr()
    assert f"usage: python -m {name.removesuffix('.__main__')}" in (told.err if status else told.out)


@pytest.mark.parametrize("name", ["boards", "board_sizes", "junk", "mailboxes"])
def test_long_benchmarks_have_a_short_run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It stands in the file, with options that there are."""
    module = importlib.import_module(f"tests.benchmarks.{name}")
    lines = [line for line in (module.__doc__ or "").splitlines() if line.endswith("a short run")]
    assert len(lines) == 1
    options = lines[0].split(f"tests.benchmarks.{name}")[1].removesuffix("a short run").split()
    assert options
    with pytest.raises(SystemExit):
        module.main([*options, "--no-such-option"])
    assert capsys.readouterr().err.endswith("unrecognized arguments: --no-such-option\n")


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", ""])
def test_an_option_that_counts_takes_at_least_one(text: str) -> None:
    assert measured.some("1") == 1
    with pytest.raises(ValueError):
        measured.some(text)
