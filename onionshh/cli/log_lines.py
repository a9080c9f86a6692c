"""One thing that was said, in each form that a log may have: as text with date and level, as a JSON object,
and as systemd's journal takes it.

JSON has the keys time, level, logger and message, and no others. Times are in UTC, as ISO 8601 has them. The
journal has dates of its own, so a line there gets its level alone, as `<4>`.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
LEVELS: Final = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}
_PRIORITIES: Final = {DEBUG: 7, INFO: 6, WARNING: 4, ERROR: 3}

OURS: Final = "onionshh"
"""The logger of what a command says itself."""


@dataclass(frozen=True, slots=True)
class Said:
    """`message`: one line, or the lines of a traceback."""

    message: str
    level: int = INFO
    logger: str = OURS


Form = Callable[[Said, float], str]
"""What is written of it. The second argument is the time, in Unix seconds."""


def as_text(said: Said, wall: float) -> str:
    """`2026-01-02T03:04:05.678Z warning onionshh.net: it rains`"""
    return f"{iso_time(wall)} {level_name(said.level)} {said.logger}: {said.message}"


def as_json(said: Said, wall: float) -> str:
    """One object on one line."""
    return json.dumps(
        {
            "time": iso_time(wall),
            "level": level_name(said.level),
            "logger": said.logger,
            "message": said.message,
        }
    )


def for_journal(said: Said, wall: float) -> str:
    """`<4>onionshh.net: it rains`"""
    mark = f"<{_PRIORITIES[LEVELS[level_name(said.level)]]}>"
    name = "" if said.logger == OURS else f"{said.logger}: "
    return "\n".join(f"{mark}{name}{line}" for line in said.message.split("\n"))


def iso_time(wall: float) -> str:
    """A time in UTC, to the millisecond."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def level_name(level: int) -> str:
    """The name of the highest of our levels that this one reaches."""
    reached = [name for name, least in LEVELS.items() if level >= least]
    return reached[-1] if reached else "debug"


def leads_to_journal(descriptor: int, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether systemd's journal reads this descriptor: JOURNAL_STREAM has its device and inode."""
    try:
        about = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{about.st_dev}:{about.st_ino}"
