"""`--config` at every command: what comes first, what may come from the file, what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from onionshh.cli import main
from onionshh.cli.app import CONFIGURED, app
from onionshh.cli.config.command import Configured, start_of
from tests.cli.conftest import Mistake

Ran = Callable[..., dict[str, Any]]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """Runs a command up to its own function, and returns what that is called with."""
    monkeypatch.delenv("ONIONSHH_NETWORK", raising=False)

    def run(name: str, *arguments: object) -> dict[str, Any]:
        command = app.get_command(click.Context(app), name)
        assert command is not None
        got: dict[str, Any] = {}
        command.callback = lambda **named: got.update(named)
        with command.make_context(
            name, [str(one) for one in arguments], parent=click.Context(app)
        ) as context:
            command.invoke(context)
        return got

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "made.toml"
    path.write_text(
        '[relay]\nlisten = "127.0.0.1:1"\ndata = "d"\nnetwork = "n"\nrate = 7\nfamily = ["a", "b"]\n'
        '[host]\ndata = "d"\necho = true\nnetwork = "n"\n'
    )
    return path


def test_command_line_then_environment_then_file_then_default(
    ran: Ran, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got = ran("relay", "--config", file)
    assert (got["listen"], got["rate"], got["nickname"]) == (("127.0.0.1:1",), 7, "unnamed")
    assert (got["family"], got["data"], got["network"]) == (("a", "b"), file.parent / "d", file.parent / "n")
    got = ran("relay", "--rate", 9, "--family", "c", "--data", "here", "--config", file)
    assert (got["rate"], got["family"], got["data"]) == (9, ("c",), Path("here"))
    monkeypatch.setenv("ONIONSHH_NETWORK", "theirs")
    assert ran("relay", "--config", file)["network"] == Path("theirs")


def test_a_flag_of_the_file_is_on(ran: Ran, file: Path) -> None:
    got = ran("host", "--config", file)
    assert (got["echo"], got["senders"]) == (True, False)


@pytest.mark.parametrize("name", CONFIGURED)
def test_every_command_has_both_options(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = app.get_command(click.Context(app), name)
    assert isinstance(command, Configured)
    assert {"--config", "--print-config"} <= {word for one in command.params for word in one.opts}
    (tmp_path / "f").write_text(f"[{name}]\nno-such-option = 1\n")
    assert main([name, "--config", str(tmp_path / "f")]) == 2
    assert f"no-such-option in [{name}] is no option" in capsys.readouterr().err
    assert main([name, "--help"]) == 0


def test_what_a_command_says_of_an_option_says_where_it_is_from(mistake: Mistake, file: Path) -> None:
    file.write_text('[relay]\nlisten = "nowhere"\ndata = "d"\nnetwork = "n"\n')
    said = mistake(2, "relay", "--config", file)
    assert said.startswith("--listen needs HOST:PORT")
    assert said.endswith(f"(listen: from [relay] in {file})")
    said = mistake(2, "relay", "--config", file, "--listen", "there")
    assert "from [relay]" not in said


def test_what_is_missing_in_both_is_said(mistake: Mistake, file: Path) -> None:
    file.write_text('[relay]\nlisten = "127.0.0.1:0"\nnetwork = "n"\n')
    assert "Missing option '--data'" in mistake(2, "relay", "--config", file)
    assert "There is no configuration file" in mistake(2, "relay", "--config", file.parent / "none")
    assert "it is empty" in mistake(2, "relay", "--config", "")


def test_a_start_can_be_read_again(file: Path) -> None:
    command = app.get_command(click.Context(app), "relay")
    assert command is not None
    context = command.make_context("relay", ["--rate", "9", "--config", str(file)], parent=click.Context(app))
    start = start_of(context)
    assert start is not None
    assert start.file == file
    assert start.values().params["listen"] == ("127.0.0.1:1",)
    file.write_text('[relay]\nlisten = "127.0.0.1:2"\nrate = 1\n')
    again = start.values().params
    assert (again["listen"], again["rate"], again["data"]) == (("127.0.0.1:2",), 9, None)
    assert start_of(click.Context(app)) is None
