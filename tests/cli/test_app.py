"""All commands under one name: the help of all imports none of them."""

from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest

from onionshh.cli import main
from onionshh.cli.app import COMMANDS, app
from onionshh.cli.options import DURATION

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


NUMBERS = (click.types.IntParamType, click.types.FloatParamType)


def test_each_number_says_its_default_as_it_can_be_typed() -> None:
    told: dict[tuple[str, str | None], str] = {}
    for name in COMMANDS:
        command = app.get_command(click.Context(app), name)
        assert command is not None
        context = click.Context(command, info_name=name, show_default=True)
        for option in command.params:
            record = option.get_help_record(context)
            if isinstance(option.type, NUMBERS) and record is not None and not option.required:
                told[name, option.name] = record[1]
                form = r"\(?[0-9]+[smhd]\b" if option.type is DURATION else "[0-9a-z]"
                assert re.search(f"default: {form}", record[1]), (name, option.name, record[1])
    assert told["directory", "interval"].endswith("[default: 3600; 5 on a one-machine network]")
    assert "[default: 1h]" in told["send", "ttl"]


def test_a_near_miss_is_told_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wisper"]) == 2
    assert "No such command 'wisper'. Did you mean 'whisper'?" in capsys.readouterr().err
