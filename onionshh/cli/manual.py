"""Man pages, from the same objects as `--help`: one for the program, and one for each command.

    python -m onionshh.cli.manual FOLDER

A page is roff with the macros of man(7), in ASCII: other letters are written as escapes, so that any man
program reads it in any locale. Nothing in a page depends on the day or the machine.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from inspect import cleandoc
from pathlib import Path

import click

from onionshh import __version__
from onionshh.cli.app import COMMANDS, CONFIGURED, app

PROGRAM = "onionshh"
VERBATIM = "\b"
"""What click takes as the mark of a paragraph whose lines stay as they are."""

STATUSES = (
    ("0", "Done, delivered or stored; or a signal ended a command that runs until then."),
    ("1", "Not delivered, directory down, port or folder in use."),
    ("2", "Wrong usage: an address, file, size or option."),
    ("3", "Delivered, but stdout took no reply."),
)
VARIABLES = (
    ("ONIONSHH_NETWORK", "The network file, where --network is not given."),
    ("ONIONSHH_DEBUG", "If it is set, errors also show where they happened."),
    ("ONIONSHH_PURE", "If it is 1, the cipher of cells is the one in Python."),
    ("XDG_STATE_HOME", "Where a visitor's folders are, if no --data is given; otherwise ~/.local/state."),
)


def pages() -> dict[str, str]:
    """Every page, by the name of its file."""
    context = click.Context(app, info_name=PROGRAM)
    made = {f"{PROGRAM}.1": _page(PROGRAM, app, context, _all_commands())}
    for name in COMMANDS:
        command = app.get_command(context, name)
        if command is not None:
            inner = _context(command, name, context)
            of_its_own = command.commands if isinstance(command, click.Group) else {}
            more = _file_of(command) if name in CONFIGURED else _commands(name, of_its_own)
            made[f"{PROGRAM}-{name}.1"] = _page(f"{PROGRAM}-{name}", command, inner, more)
            for part, one in of_its_own.items():
                page = f"{PROGRAM}-{name}-{part}"
                made[f"{page}.1"] = _page(page, one, _context(one, part, inner), ())
    return made


def write(folder: Path) -> list[Path]:
    """Write all pages into this folder, and return their paths. Other pages there go: their commands are
    gone."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{PROGRAM}*.1"):
        old.unlink()
    paths = []
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="ascii")
        paths.append(folder / name)
    return paths


def _page(name: str, command: click.Command, context: click.Context, more: Iterable[str]) -> str:
    paragraphs = [part for part in cleandoc(command.help or "").split("\n\n") if part.strip()]
    short = " ".join(paragraphs[0].split()).rstrip(".")
    lines = [
        f'.TH {_text(name.upper())} 1 "" "{PROGRAM} {_text(__version__)}" "{PROGRAM} manual"',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{_text(name)} \\- {_text(short)}",
        ".SH SYNOPSIS",
        f".B {_text(context.command_path)}",
        _line(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        *_description(paragraphs),
        ".SH OPTIONS",
    ]
    for option in command.get_params(context):
        record = option.get_help_record(context) if isinstance(option, click.Option) else None
        if record is not None:
            names, _, value = record[0].partition(" ")
            shown = f"\\fB{_text(names)}\\fR" + (f" \\fI{_text(value)}\\fR" if value else "")
            lines += [".TP", shown, _line(record[1])]
    lines += more
    lines += [".SH EXIT STATUS", *_pairs(STATUSES), ".SH ENVIRONMENT", *_pairs(VARIABLES)]
    others = [other for other in (PROGRAM, *(f"{PROGRAM}-{one}" for one in COMMANDS)) if other != name]
    lines += [".SH SEE ALSO", ",\n".join(f"\\fB{_text(other)}\\fR(1)" for other in others)]
    return "\n".join(lines) + "\n"


def _description(paragraphs: Iterable[str]) -> Iterator[str]:
    for number, paragraph in enumerate(paragraphs):
        if number:
            yield ".PP"
        lines = paragraph.split("\n")
        if lines[0].strip() == VERBATIM:
            yield from (".nf", *(_line(line) for line in lines[1:]), ".fi")
        else:
            yield _line(" ".join(paragraph.split()))


def _context(command: click.Command, name: str, parent: click.Context) -> click.Context:
    made = click.Context(command, info_name=name, parent=parent)
    made.max_content_width, made.show_default = 100, True
    return made


def _all_commands() -> Iterator[str]:
    yield ".SH COMMANDS"
    yield from _pairs((f"{PROGRAM}-{name}(1)", said) for name, said in COMMANDS.items())


def _commands(name: str, commands: Mapping[str, click.Command]) -> Iterator[str]:
    yield ".SH COMMANDS"
    yield from _pairs(
        (f"{PROGRAM}-{name}-{part}(1)", one.get_short_help_str(1000)) for part, one in commands.items()
    )


def _file_of(command: click.Command) -> Iterator[str]:
    yield ".SH CONFIGURATION FILE"
    yield _line(
        f"With --config FILE the options are also taken from the table [{command.name}] of that file, which"
        " is TOML. The keys are the names of the options without the dashes in front; an option that may be"
        " repeated is a list or a single value, and one without a value is true or false. Paths are relative"
        " to the folder of the file. The command line comes before the environment, the environment before"
        " the file, and the file before the defaults. Secrets never belong in it. It must belong to you or to"
        " root, and nobody else may write to it, since it may name a program to run. --print-config prints"
        " such a file."
    )


def _pairs(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, said in pairs:
        yield from (".TP", f"\\fB{_text(name)}\\fR", _line(said))


def _line(text: str) -> str:
    """Text as a line of its own: what begins like a request of roff is none."""
    escaped = _text(text)
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped


def _text(text: str) -> str:
    """Text within a line."""
    return "".join(_ESCAPES.get(letter, letter if letter.isascii() else _unicode(letter)) for letter in text)


def _unicode(letter: str) -> str:
    return f"\\[u{ord(letter):04X}]"


_ESCAPES = {
    "\\": "\\e",
    "-": "\\-",
    "'": "\\(aq",
    '"': "\\(dq",
    "`": "\\(ga",
    "^": "\\(ha",
    "~": "\\(ti",
    "…": "...",
    "\b": "",
}

if __name__ == "__main__":
    for written in write(Path(sys.argv[1])):
        print(written)
