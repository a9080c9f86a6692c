"""The configuration file: TOML, one table for each command, whose keys are the names of its options.

    [relay]
    listen = "127.0.0.1:9001"
    data = "relay1"              # relative to the folder of this file
    family = ["ab…", "cd…"]      # what may be repeated is a list

The table of the command that runs is checked whole before anything of it counts: each key must be an option,
and each value must be what the option takes. A number may also stand in quotes, and a text that is a plain
number without. Of the other tables only the names are checked. A file that others can write to is refused
(trusted.py). Nothing of a value is repeated in an error but what the option itself says of it.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from onionshh.advice import advice
from onionshh.cli.config.trusted import check_trusted
from onionshh.cli.failures import Usage
from onionshh.cli.options import DURATION, PATH
from onionshh.cli.text import one_line

FILE_MOST: Final = 256 * 1024
NUMBER_MOST: Final = 2**63 - 1
"""As TOML has it. A longer number might not even be written in a sentence."""
NOT_IN_A_FILE: Final = frozenset({"config", "print-config", "help"})
AMOUNT: Final = "bytes"
"""The name of the type of `--monthly`, a number or a text (monthly.py), which is not loaded for this."""
NAMES_A_PROXY: Final = frozenset({"via"})
"""Options whose value may have a password in it."""
_SECRET: Final = re.compile(r"secret|passw|passphrase|private|token|seed|credential|identity|\bkey|key\b")
_STDIN: Final = "-"
_WHOLE: Final = "a whole number"
_DIGITS: Final = re.compile("-?[0-9]{1,19}", re.ASCII)


def key_of(option: click.Option) -> str:
    """The key of an option in the file: its name without the dashes in front."""
    return max(option.opts, key=len).lstrip("-")


def options_of(command: click.Command) -> dict[str, click.Option]:
    """The options of a command that may be in a file, by their keys."""
    options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    return {key_of(option): option for option in options if key_of(option) not in NOT_IN_A_FILE}


def read_config(path: Path, command: click.Command, commands: Iterable[str]) -> dict[str, Any]:
    """What the file says for this command, by the names of its parameters (`default_map`). `commands`: the
    names of all commands. Usage, in one sentence."""
    tables = _parsed(path)
    names = list(commands)
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise Usage(f"{path}: {_word(name)} stands in no table; put it below [{command.name}].")
        if name not in names:
            raise Usage(f"{path}: there is no command for the table [{_word(name)}]{_nearest(name, names)}.")
    found: dict[str, Any] = {}
    options = options_of(command)
    table = tables.get(command.name or "", {})
    for key, value in table.items():
        where = f"{path}: {_word(key)} in [{command.name}]"
        option = options.get(key.replace("_", "-"))
        if option is None:
            raise Usage(f"{where} {_unknown(key, command, options)}.")
        if option.name in found:
            raise Usage(f"{where} is there twice, with - and with _; keep one.")
        found[option.name or ""] = _checked(where, option, value, path.parent)
    return found


def _parsed(path: Path) -> Mapping[str, Any]:
    try:
        # A pipe without a writer would hold up a program that reads its file again.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Usage(f"{path} is not a file; give a configuration file.")
            check_trusted(file.fileno(), path)
            data = file.read(FILE_MOST + 1)
    except FileNotFoundError:
        raise Usage(
            f"There is no configuration file at {path}; --print-config shows what one looks like."
        ) from None
    except OSError as error:
        raise Usage(
            f"The configuration file {path} cannot be read: {error.strerror}{advice(error)}."
        ) from error
    if len(data) > FILE_MOST:
        raise Usage(f"{path} is larger than any configuration file; give the right one.")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Usage(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except (ValueError, RecursionError) as error:
        raise Usage(f"{path} is not valid TOML ({error}).") from error


def _unknown(key: str, command: click.Command, options: Mapping[str, click.Option]) -> str:
    """What to say of a key that is no option."""
    plain = key.replace("_", "-").lower()
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    if any(plain == argument.name for argument in arguments):
        return "is given on the command line, not in a file"
    if plain in NOT_IN_A_FILE:
        return "is for the command line alone"
    near = difflib.get_close_matches(plain, options, 1)
    if _SECRET.search(plain) and not near:
        return (
            "looks like a secret, which never belongs here: keep it in a file of its own that only you read"
        )
    return f"is no option{_nearest(plain, list(options))}"


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    if near:
        return f"; the nearest is {near[0]}"
    return f"; there is {', '.join(names)}" if names else ""


def _checked(where: str, option: click.Option, value: Any, folder: Path) -> Any:
    """The value as if it had been typed. A path is relative to the folder of the file. What may be given
    several times is a list, or one value by itself."""
    if option.multiple:
        items = value if isinstance(value, list) else [value]
        return [_one(where, option, item, folder) for item in items]
    return _one(where, option, value, folder)


def _one(where: str, option: click.Option, value: Any, folder: Path) -> Any:
    wanted, kinds = _wanted(option)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise Usage(f"{where} needs {wanted}, not {_kind(value)}.")
    if type(value) is int and abs(value) > NUMBER_MOST:
        raise Usage(f"{where} is larger than any number in TOML.")
    if wanted == _WHOLE and isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise Usage(f"{where} needs {wanted}, not {_kind(value)}.")
    if isinstance(option.type, click.types.StringParamType) and isinstance(value, int):
        value = str(value)
    if key_of(option) in NAMES_A_PROXY and "@" in str(value):
        raise Usage(f"{where} has a password, which never belongs here: put it into {option.envvar}.")
    context = click.Context(click.Command(None))
    try:
        made = option.type.convert(value, option, context)
    except click.UsageError as error:
        raise Usage(f"{where}: {one_line(error.message)}") from error
    if isinstance(made, Path) and value != _STDIN:
        return os.path.abspath(folder / made)
    return value


def _wanted(option: click.Option) -> tuple[str, tuple[type, ...]]:
    """What an option takes: in words, and as types of TOML."""
    if option.type.name == AMOUNT:
        return 'an amount of bytes, as 750000000 or "500GB"', (int, str)
    if option.is_flag:
        return "true or false", (bool,)
    if isinstance(option.type, click.types.IntParamType):
        return _WHOLE, (int, str)
    if option.type is DURATION:
        return 'a time, as in "90s", "30m", "3h" or "3d"', (str, int, float)
    if option.type is PATH:
        return "a path in quotes", (str,)
    return "a text in quotes", (str, int)


def _kind(value: object) -> str:
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}
    return kinds.get(type(value), "a table" if isinstance(value, dict) else "a date or time")


def _word(name: str) -> str:
    """A key as the file has it, cut where no key of ours would go on."""
    return one_line(name if len(name) <= 40 else name[:40] + "…") or '""'
