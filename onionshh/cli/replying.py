"""Who answers the whispers of `host`: an echo, a program, or neither. SIGHUP may exchange them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from onionshh.cli.failures import Usage
from onionshh.cli.program import ProgramFailed, parse_command, run_program
from onionshh.cli.received import ReceivedFiles
from onionshh.client.whisper import Whisper

logger = logging.getLogger("onionshh.host")

LIVE: Final = frozenset({"echo", "exec", "receive"})
"""What SIGHUP takes up: see `take_up`."""


class Replying:
    """What `--echo` and `--exec` ask for. Usage."""

    def __init__(self, echo: bool, program: str | None) -> None:
        if echo and program is not None:
            raise Usage("--echo and --exec exclude each other.")
        self.wanted = echo or program is not None
        """Whether whispers are answered here at all."""
        self._command = parse_command(program) if program is not None else None

    def become(self, other: Replying) -> None:
        """Answer as the other does, from the next whisper on. A program that runs now is not disturbed."""
        self._command = other._command

    async def reply(self, whisper: Whisper) -> bytes | None:
        """The program's output, or the whisper's own body."""
        command = self._command
        if command is None:
            return whisper.body
        try:
            return await run_program(command, whisper.body)
        except ProgramFailed as error:
            logger.warning("no reply to a whisper: %s", error)
            return None


def take_up(replying: Replying, received: ReceivedFiles | None, now: Mapping[str, Any]) -> set[str]:
    """The host's options are these now. Returns the keys that need a restart: whether whispers are answered
    and transfers taken at all is decided at the start. Usage, before anything is changed."""
    left = set()
    other = Replying(now["echo"], now["exec"])
    if other.wanted != replying.wanted:
        left |= {"echo", "exec"}
    folder = now["receive"]
    if (folder is None) != (received is None):
        left.add("receive")
    elif received is not None:
        received.move(folder)
    if not left & {"echo", "exec"}:
        replying.become(other)
    return left
