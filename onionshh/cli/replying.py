"""Who answers the whispers of `host`: an echo, a program, or neither. SIGHUP may exchange them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from onionshh.cli.failures import Usage
from onionshh.cli.handling import NotHandled
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
        self.wanted = other.wanted
        self._command = other._command

    async def reply(self, whisper: Whisper) -> bytes | None:
        """The program's output, or the whisper's own body. NotHandled."""
        command = self._command
        if not self.wanted:
            raise NotHandled("whispers are not answered any more")
        if command is None:
            return whisper.body
        try:
            return await run_program(command, whisper.body)
        except ProgramFailed as error:
            logger.warning("no reply to a whisper: %s", error)
            return None


def take_up(replying: Replying, received: ReceivedFiles, now: Mapping[str, Any], *, receipts: bool) -> None:
    """The host's options are these now. Usage, before anything is changed. `receipts`: whether it sends
    any."""
    other = Replying(now["echo"], now["exec"])
    check_receive(now["receive"], receipts=receipts)
    received.move(now["receive"])
    replying.become(other)


def check_receive(folder: object, *, receipts: bool) -> None:
    """Refuse what `--no-receipts` excludes. Usage."""
    if folder is not None and not receipts:
        raise Usage("--no-receipts and --receive exclude each other: a transfer needs receipts.")
