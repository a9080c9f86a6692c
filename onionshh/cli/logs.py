"""`--log-level` and `--log-format`: how much a program that runs for long says, and in which form.

Both are about everything that it says of itself, on stderr, and on stdout too where that is not the output of
a `host`. Without them, lines are as a person at a terminal reads them. `begin` looks for the format before
the options are read, so that even a wrong option is told in it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click

from onionshh.cli import talk
from onionshh.cli.defaults import InWords
from onionshh.cli.log_lines import LEVELS, OURS, Form, as_json, as_text, for_journal, leads_to_journal

F = TypeVar("F", bound=Callable[..., Any])

COMMANDS: Final = frozenset({"directory", "host", "relay"})
FORMATS: Final = ("text", "json")
STEPS: Final = "onionshh.steps"
"""The logger of `--verbose`: it names relays, so no level alone shows it (client/steps.py)."""


def log_options(command: F) -> F:
    """`--log-level` and `--log-format`, which the command itself need not know."""
    said = "What is worth a line: debug, info, warning or error."
    level = click.option(
        "--log-level",
        type=click.Choice(list(LEVELS)),
        metavar="LEVEL",
        default="info",
        expose_value=False,
        is_eager=True,
        callback=_level_given,
        help=said,
    )
    form = click.option(
        "--log-format",
        cls=InWords,
        type=click.Choice(FORMATS),
        metavar="FORMAT",
        expose_value=False,
        is_eager=True,
        callback=_format_given,
        show_default="for a person",
        help="Lines with date and level: text, or json for one object per line.",
    )
    return level(form(command))


def begin(arguments: Sequence[str]) -> None:
    """Whatever an earlier command of this process chose is over; these are the arguments of the next one."""
    set_level("info")
    logging.getLogger(OURS).setLevel(logging.NOTSET)
    long_running = bool(arguments) and arguments[0] in COMMANDS
    set_format(_format_in(arguments) if long_running else None, may_be_journal=long_running)


def set_level(name: str) -> None:
    """What is less than this level is not said."""
    level = LEVELS[name]
    talk.stdout.least = talk.stderr.least = level
    # Other libraries name addresses at their lower levels, so this is for our own loggers.
    logging.getLogger(OURS).setLevel(level)
    steps = logging.getLogger(STEPS)
    if steps.level == logging.NOTSET:
        steps.setLevel(logging.CRITICAL)


def set_format(name: str | None, *, may_be_journal: bool = True) -> None:
    """The form of lines from now on. None: as a person reads them."""
    chosen: Form | None = {None: None, "text": as_text, "json": as_json}[name]
    for number, mouth in ((1, talk.stdout), (2, talk.stderr)):
        to_journal = may_be_journal and name != "json" and leads_to_journal(number)
        mouth.form = for_journal if to_journal else chosen
    logging.captureWarnings(name == "json")
    if name == "json":
        sys.unraisablehook = _log_unraisable
    elif sys.unraisablehook is _log_unraisable:
        sys.unraisablehook = sys.__unraisablehook__


def _format_in(arguments: Sequence[str]) -> str | None:
    """The format that these arguments ask for, as far as it is one."""
    for one, following in zip(arguments, [*arguments[1:], ""], strict=True):
        value = following if one == "--log-format" else one.removeprefix("--log-format=")
        if one.startswith("--log-format") and value in FORMATS:
            return value
    return None


def _level_given(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    set_level(value)
    context.call_on_close(lambda: logging.getLogger(OURS).setLevel(logging.NOTSET))


def _format_given(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    set_format(value)


def _log_unraisable(about: sys.UnraisableHookArgs) -> None:
    name = about.exc_type.__name__
    logging.getLogger(OURS).error("a fault of this program, where nobody could be told (%s)", name)
