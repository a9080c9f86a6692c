"""What went wrong, in one sentence, with its exit status."""

from __future__ import annotations

import json
import logging
import os
import traceback

from click import ClickException

from onionshh.advice import advice
from onionshh.cli.log_lines import ERROR
from onionshh.cli.remarks import Remarks
from onionshh.cli.talk import note, remark, utter
from onionshh.cli.text import one_line, shown
from onionshh.errors import BadAddress, BadData, BadNetworkFile, Error, TooLarge

FAILED = 1
WRONG_USAGE = 2
DEBUG_VARIABLE = "ONIONSHH_DEBUG"


class Usage(Error):
    """An option or argument that cannot be used; the message says what to do."""


_USAGE = (Usage, BadAddress, BadNetworkFile, BadData, TooLarge)


def debugging() -> bool:
    """Whether details are wanted."""
    return bool(os.environ.get(DEBUG_VARIABLE))


def report(error: BaseException, *, as_json: bool) -> int:
    """Say on stderr, and with --json on stdout, what went wrong. Returns the exit status."""
    if debugging():
        remark(shown("".join(traceback.format_exception(error))).rstrip(), ERROR)
    if isinstance(error, BrokenPipeError):
        # The reader of our output has gone, and Python must not try to write again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    sentence, status = explain(error)
    note(sentence, ERROR)
    if as_json:
        utter(json.dumps({"error": sentence}))
    return status


def explain(error: BaseException) -> tuple[str, int]:
    """One sentence for a person, and the exit status."""
    if isinstance(error, Error):
        return one_line(str(error)), WRONG_USAGE if isinstance(error, _USAGE) else FAILED
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return one_line(f"{error.strerror}{where}{advice(error)}."), FAILED
    if isinstance(error, MemoryError):
        return "there is not enough memory; end other programs, or allow this one more.", FAILED

    if isinstance(error, ClickException):
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "onionshh"
        message = one_line(error.format_message())
        stop = "" if message.endswith((".", "?")) else "."
        return f"{message}{stop} Try '{command} --help'.", error.exit_code
    what = one_line(f"{type(error).__name__}: {error}").rstrip(": ")
    return f"this is a bug in onionshh: {what}. {DEBUG_VARIABLE}=1 shows where.", FAILED


def worst(error: BaseException) -> BaseException:
    """The one error of a group that says most: an unexpected one, else the first."""
    leaves = _leaves(error)
    unexpected = [leaf for leaf in leaves if not isinstance(leaf, Error | OSError)]
    return (unexpected or leaves)[0]


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in _leaves(inner)]


def configure_logging() -> Remarks:
    """Log warnings and worse on stderr, one line each. Further calls change nothing."""
    for held in logging.getLogger().handlers:
        if isinstance(held, Remarks):
            return held
    handler = Remarks()
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    return handler


class OneLine(logging.Formatter):
    """A record as one line. Of an exception its type and place are shown, unless details are wanted: what is
    in it may be an address or an id."""

    def format(self, record: logging.LogRecord) -> str:
        if debugging():
            return shown(super().format(record))
        raised = record.exc_info[1] if record.exc_info else None
        tail = f" ({type(raised).__name__}{_place(raised)})" if raised is not None else ""
        return one_line(record.getMessage() + tail)


def _place(error: BaseException) -> str:
    """Where it was raised: file and line."""
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f" in {os.path.basename(frames[0].filename)}, line {frames[0].lineno}" if frames else ""
