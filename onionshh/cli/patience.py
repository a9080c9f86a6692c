"""Waits for what starts together with us and may be late: the network file, the directory, the right time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import trio

from onionshh.cli.talk import note
from onionshh.cli.text import one_line
from onionshh.config import NetworkFile
from onionshh.errors import BadNetworkFile, ClockWrong, Error, NoDirectory
from onionshh.net.consensus_keeper import NotThisNetwork
from onionshh.net.network_file import read_network_file

FILE_SECONDS = 5.0
ASK_AGAIN_SECONDS = 0.5
ASK_AGAIN_MOST_SECONDS = 30.0

T = TypeVar("T")


def network_file_when_there(path: Path) -> NetworkFile:
    """The network file, which the directory writes when it first starts. If the file is not there yet, or not
    whole yet, wait for it, but not for long. BadNetworkFile then."""
    end, said = time.monotonic() + FILE_SECONDS, False
    while True:
        try:
            return read_network_file(path)
        except BadNetworkFile as error:
            if time.monotonic() >= end:
                raise
            if not said:
                said = True
                note(f"{one_line(str(error))} Waiting {FILE_SECONDS:.0f} s for it.")
        time.sleep(ASK_AGAIN_SECONDS)


async def until_directory_answers(attempt: Callable[[], Awaitable[T]]) -> T:
    """What `attempt` returns. While no directory answers or the clocks differ, it is tried again, less and
    less often, until cancelled. A relay or an endpoint must come back by itself after a power cut, whichever
    machine starts first, and whenever its clock is set. Each reason to wait is said once."""
    said: type[Error] | None = None
    pause = ASK_AGAIN_SECONDS
    while True:
        try:
            return await attempt()
        except NotThisNetwork:
            raise  # waiting does not repair a file
        except (NoDirectory, ClockWrong) as error:
            if type(error) is not said:
                said = type(error)
                end = "the times agree" if isinstance(error, ClockWrong) else "it answers"
                note(f"{one_line(str(error))} Trying again until {end}.")
        await trio.sleep(pause)
        pause = min(1.5 * pause, ASK_AGAIN_MOST_SECONDS)
