"""`--print-config`: the options that would be used, as a file for `--config`.

Above each option stands its help. What has no value is a comment with the place for one. Paths are absolute,
so that the file may be kept anywhere. Numbers stand without quotes. Whatever a terminal would obey is written
as TOML's own escapes.
"""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path
from typing import Final

import click

from onionshh.cli.config.file import AMOUNT, NAMES_A_PROXY, options_of
from onionshh.cli.defaults import default_in_words
from onionshh.cli.failures import Usage
from onionshh.cli.text import shown

WIDTH: Final = 100
EXACT_MOST: Final = 2.0**53
"""Up to this a float is the whole number that it is written as."""
_NUMBER: Final = re.compile("0|[1-9][0-9]{0,17}", re.ASCII)
"""A text that is a plain number, as a port: the same in quotes and without."""


def printed(command: click.Command, values: click.Context) -> str:
    """The text of the file. `values`: what `Start.values` returned."""
    lines = [
        f"# onionshh {command.name}: made by --print-config, for --config. Paths in it are relative to its",
        "# folder. Secrets never belong here.",
        f"[{command.name}]",
    ]
    for key, option in options_of(command).items():
        default = default_in_words(option)
        more = f" [default: {default}]" if default else " Required." if option.required else ""
        said = " ".join((option.help or "").split()) + more
        lines += ["", *textwrap.wrap(shown(said), WIDTH, initial_indent="# ", subsequent_indent="# ")]
        value = values.params[option.name or ""]
        if key in NAMES_A_PROXY and "@" in str(value):
            value = None  # with a password, which never belongs in a file
        if value is None or value == ():
            place = _place(option)
            lines.append(f"# {key} = {f'[{place}]' if option.multiple else place}")
        else:
            lines.append(f"{key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _place(option: click.Option) -> str:
    """Where a value is missing: what may stand there, in quotes unless it is a number."""
    is_number = isinstance(option.type, click.types.IntParamType) and option.type.name != AMOUNT
    return option.metavar or "" if is_number else f'"{option.metavar or ""}"'


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and value < EXACT_MOST else repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, Path):
        return _quoted("-" if value == Path("-") else os.path.abspath(value))
    text = str(value)
    return text if isinstance(value, int) or _NUMBER.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    return '"' + "".join(_letter(letter) for letter in text) + '"'


def _letter(letter: str) -> str:
    code = ord(letter)
    if 0xD800 <= code <= 0xDFFF:
        raise Usage("A name that is not valid UTF-8 cannot stand in a configuration file; give another.")
    if letter in '"\\':
        return "\\" + letter
    if letter.isprintable() and shown(letter) == letter:
        return letter
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
