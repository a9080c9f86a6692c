"""Every door holds against some inputs, drawn alike in every run; `make fuzz` draws many more."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from onionshh.errors import CryptoError, ProtocolError
from onionshh.reasons import Reason
from tests.fuzz.drawing import inputs
from tests.fuzz.target import Fault, Script, Target, check, string
from tests.fuzz.targets import TARGETS
from tests.layers import SHIPPED

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = 60

SETTINGS = hypothesis.settings(
    max_examples=EXAMPLES,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)


def doors() -> Iterator[str]:
    """The dotted name of everything that is called `..._untrusted`, without "onionshh."."""
    for folder in SHIPPED:
        for path in (ROOT / folder).rglob("*.py"):
            module = path.relative_to(ROOT).as_posix().removesuffix(".py").replace("/", ".")
            yield from _defined(ast.parse(path.read_text(encoding="utf-8")), module.removeprefix("onionshh."))


def _defined(node: ast.AST, name: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _defined(child, f"{name}.{child.name}")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and child.name.endswith("_untrusted"):
            yield f"{name}.{child.name}"


def test_every_door_has_its_target() -> None:
    found = set(doors())
    assert "wire.messages.Fetch.decode_untrusted" in found
    assert "directory.authority.DirectoryAuthority.submit_untrusted" in found
    assert found - TARGETS.keys() == set()
    untrue = {name for name in TARGETS if name.partition(":")[0].endswith("_untrusted")}
    assert {name.partition(":")[0] for name in untrue} == found


@pytest.mark.parametrize("name", TARGETS)
def test_what_the_encoders_make_passes(name: str) -> None:
    assert TARGETS[name].seeds
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_it_returns_or_raises_protocol_error(name: str) -> None:
    target = TARGETS[name]

    @SETTINGS
    @hypothesis.given(inputs(target.seeds))
    def holds(data: bytes) -> None:
        check(target, data)

    holds()


# The rule itself.


def raises(error: Exception) -> Target:
    def run(data: bytes) -> None:
        raise error

    return Target("a door", run, ())


def test_the_rule_lets_protocol_errors_pass_and_nothing_else() -> None:
    check(raises(ProtocolError(Reason.LINK_ENDED)), b"")
    check(raises(CryptoError(Reason.SIGNATURE)), b"")
    for error in (ValueError("x"), IndexError(), AssertionError(), RecursionError(), MemoryError()):
        with pytest.raises(Fault, match=type(error).__name__):
            check(raises(error), b"")
    with pytest.raises(Fault, match="none of ours"):
        check(raises(ProtocolError("what came: \x1b[31m")), b"")  # type: ignore[arg-type]


def test_the_rule_bounds_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.target.SECONDS_MOST", 0.0)
    with pytest.raises(Fault, match="took"):
        check(Target("slow", lambda data: sum(range(100_000)), ()), b"")


def test_a_script_that_is_cut_short_reads_as_zeros() -> None:
    script = Script(string(b"abc") + b"\1\2\3")
    assert script.string() == b"abc"
    assert script.number(2) == 0x0102
    assert script.number(2) == 0x0300
    assert script.over
    assert (script.number(4), script.string(), script.rest()) == (0, b"", b"")
    assert Script(string(b"abc")).filled(5) == b"abc\0\0"
    assert Script(string(b"abc")).filled(2) == b"ab"
