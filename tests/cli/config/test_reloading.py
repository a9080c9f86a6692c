"""A file that is read again: what changed is taken up, all or nothing, and what cannot be is named."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from onionshh.cli.app import app
from onionshh.cli.config import reloading
from onionshh.cli.config.command import start_of
from onionshh.cli.config.reloading import Reload, reload_with
from onionshh.cli.failures import Usage
from onionshh.cli.logs import set_level
from onionshh.cli.talk import note

Captured = pytest.CaptureFixture[str]
FIRST = '[relay]\nlisten = "127.0.0.1:1"\nnickname = "first"\nrate = 5\n'


class Program:
    """A relay that only remembers what it took up."""

    def __init__(self, file: Path, *arguments: str) -> None:
        self.file = file
        self.taken: list[Mapping[str, Any]] = []
        self.left: Collection[str] = ()
        self.refuses = ""
        file.write_text(FIRST)
        command = app.get_command(click.Context(app), "relay")
        assert command is not None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(click.Command, "parse_args", lambda self, ctx, args: args)
            self.context = command.make_context("relay", ["--config", str(file), *arguments])
        start = start_of(self.context)
        assert start is not None
        self.reload = Reload(start, {"nickname", "rate"}, self.take)

    def take(self, now: Mapping[str, Any]) -> Collection[str]:
        if self.refuses:
            raise Usage(self.refuses)
        self.taken.append(now)
        return self.left

    def change(self, text: str) -> None:
        self.file.write_text(text)
        self.reload()


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "made.toml")


def test_what_can_change_is_taken_up(program: Program, capsys: Captured) -> None:
    program.change(FIRST.replace("first", "second"))
    assert program.taken == [{"nickname": "second", "rate": 5}]
    assert capsys.readouterr() == ("", f"onionshh: {program.file} was read again; changed: nickname.\n")
    program.reload()
    assert len(program.taken) == 1
    assert capsys.readouterr().err.endswith("was read again; changed: nothing.\n")
    program.change('[relay]\nlisten = "127.0.0.1:1"\n')
    assert program.taken[1:] == [{"nickname": "unnamed", "rate": 0}]


def test_what_cannot_change_is_named_until_the_restart(program: Program, capsys: Captured) -> None:
    changed = FIRST.replace(":1", ":2") + 'data = "x"\n'
    for _ in range(2):
        program.change(changed)
        assert capsys.readouterr().err.endswith("changed: nothing.\nonionshh: listen, data need a restart.\n")
    assert program.taken == []
    program.change(FIRST)
    assert "restart" not in capsys.readouterr().err


def test_what_the_command_leaves_is_named_too(program: Program, capsys: Captured) -> None:
    program.left = {"rate"}
    program.change(FIRST.replace("5", "6"))
    assert capsys.readouterr().err.endswith("changed: nothing.\nonionshh: rate needs a restart.\n")


@pytest.mark.parametrize(
    "text, said",
    [
        (FIRST.replace("5", "'x'").replace("first", "second"), "rate in [relay] needs a whole number"),
        (FIRST.replace("first", "second") + "typo = 1", "typo in [relay] is no option"),
        ("[relay", "is not valid TOML"),
    ],
)
def test_a_fault_changes_nothing(program: Program, text: str, said: str, capsys: Captured) -> None:
    program.change(text)
    assert program.taken == []
    err = capsys.readouterr().err
    assert err.startswith("onionshh: nothing was changed: ")
    assert said in err
    assert err.count("\n") == 1
    program.change(FIRST.replace("first", "second"))
    assert len(program.taken) == 1


def test_a_value_that_the_command_refuses_changes_nothing(program: Program, capsys: Captured) -> None:
    program.refuses = "--nickname needs letters."
    program.change(FIRST.replace("first", "??"))
    assert capsys.readouterr().err == "onionshh: nothing was changed: --nickname needs letters.\n"
    program.refuses = ""
    program.reload()
    assert program.taken == [{"nickname": "??", "rate": 5}]


def test_a_file_that_is_gone_changes_nothing(program: Program, capsys: Captured) -> None:
    program.file.unlink()
    program.reload()
    assert "nothing was changed: There is no configuration file" in capsys.readouterr().err


def test_the_command_line_still_comes_first(tmp_path: Path) -> None:
    program = Program(tmp_path / "made.toml", "--rate", "9")
    program.change(FIRST.replace("5", "6"))
    assert program.taken == []


def test_only_a_command_with_a_file_reloads(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(reloading, "reload_by", asked.append)
    reload_with({"rate"}, program.take)
    with click.Context(app):
        reload_with({"rate"}, program.take)
    assert asked == []
    with program.context:
        reload_with({"rate"}, program.take)
    assert len(asked) == 1


def test_the_level_of_logs_is_taken_up_whatever_the_program(program: Program, capsys: Captured) -> None:
    note("before")
    program.change(FIRST + 'log-level = "error"\n')
    note("after")
    assert program.taken == []
    said = capsys.readouterr().err
    assert "changed: log-level." in said
    assert "before" in said
    assert "after" not in said
    set_level("info")
