"""What --help says of each option in brackets: one pair of them, and defaults as people would write them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from onionshh.cli.app import COMMANDS, app
from onionshh.cli.defaults import InWords, default_in_words
from onionshh.cli.options import DURATION
from onionshh.client.contact import TRANSFER_TTL_SECONDS


def commands() -> Iterator[tuple[str, click.Command]]:
    """All, with those of `master`."""
    top = click.Context(app)
    yield "", app
    for name in COMMANDS:
        command = app.get_command(top, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {part}", one) for part, one in command.commands.items())


def options() -> Iterator[tuple[str, click.Option, str]]:
    """Every option with what --help says of it."""
    for name, command in commands():
        context = click.Context(command, info_name=name, parent=click.Context(app))
        context.show_default = True
        for option in command.get_params(context):
            record = option.get_help_record(context) if isinstance(option, click.Option) else None
            if record is not None and isinstance(option, click.Option):
                yield f"{name} {option.opts[-1]}", option, record[1]


ALL = list(options())


@pytest.mark.parametrize("option, said", [one[1:] for one in ALL], ids=[one[0] for one in ALL])
def test_an_option_has_one_pair_of_brackets_at_its_end(option: click.Option, said: str) -> None:
    text, begins, extra = said.partition("  [")
    assert "[default" not in text
    assert "[" not in text.replace("[COMMAND]", "")
    assert not begins or (extra.endswith("]") and "[" not in extra)
    assert "default: (" not in extra
    assert not re.search(r"default: [0-9]+\.[0-9]", extra)
    assert option.type is not DURATION or re.search(r"default: [0-9]+[smhd](;|])", extra)


def test_what_stands_in_the_brackets() -> None:
    said = {name: text.partition("  [")[2] for name, _, text in ALL}
    assert said["whisper --ttl"] == "default: 10m]"
    assert said["whisper --hops"] == "default: drawn from the class; 0<=x<=3]"
    assert said["relay --metrics"] == "default: off]"
    network = "env var: ONIONSHH_NETWORK; default: that of `onionshh network`, while it runs]"
    assert said["host --network"] == network
    assert said["directory --network"] == "env var: ONIONSHH_NETWORK; required]"


def test_a_default_in_words_stands_without_brackets_of_its_own() -> None:
    option = InWords(["--many"], show_default="as many as there are", help="How many.")
    assert default_in_words(option) == "as many as there are"
    assert default_in_words(click.Option(["--many"], show_default=True)) == ""
    record = option.get_help_record(click.Context(click.Command("x")))
    assert record == ("--many TEXT", "How many.  [default: as many as there are]")


def test_the_defaults_are_the_same_as_those_of_programs() -> None:
    context = click.Context(app)
    values = {
        name: option.type.convert(option.default, option, context)
        for name, option, _ in ALL
        if option.type is DURATION
    }
    assert values["send --ttl"] == TRANSFER_TTL_SECONDS
    assert (values["whisper --ttl"], values["whisper --wait"], values["top --interval"]) == (600, 30, 2)
    assert (values["meet --ttl"], values["post --ttl"], values["post --wait"]) == (600, 86_400, 180)
