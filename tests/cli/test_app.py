"""All commands under one name: the help of all imports none of them."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from onionshh.cli import main
from onionshh.cli.app import COMMANDS, app

LOADED = """
import sys
from onionshh.cli import main
status = main([{arguments}])
print(status, *sorted({{"trio", "cryptography", "nacl", "msgpack", "rich"}} & set(sys.modules)))
"""


def loaded(arguments: str) -> list[str]:
    """The exit status of a command, and what of the heavy packages it has imported."""
    script = LOADED.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("name", COMMANDS)
def test_each_line_of_the_help_is_the_first_sentence_of_its_command(name: str) -> None:
    context = click.Context(app)
    command = app.get_command(context, name)
    assert command is not None
    assert command.name == name
    assert command.help is not None
    assert COMMANDS[name] == " ".join(command.help.split("\n\n")[0].split())


def test_a_name_that_is_no_command_leads_to_none() -> None:
    context = click.Context(app)
    for name in ("ending", "app", "", "../host", "whispers"):
        assert app.get_command(context, name) is None


def test_help_and_mistakes_cost_no_heavy_import() -> None:
    assert loaded('"--help"') == ["0"]
    assert loaded('"wisper"') == ["2"]
    assert "trio" in loaded('"relays", "--help"')


def test_a_near_miss_is_told_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wisper"]) == 2
    assert "No such command 'wisper'. Did you mean 'whisper'?" in capsys.readouterr().err
