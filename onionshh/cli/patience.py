"""What starts together with us may be a moment late: the network file, the directory, the right time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from onionshh.cli.failures import one_line
from onionshh.cli.talk import note
from onionshh.errors import ClockWrong, Error, NoDirectory

FILE_SECONDS = 5.0
PAUSE_SECONDS = 0.5
PAUSE_MOST_SECONDS = 30.0

T = TypeVar("T")


def until_there_is(network: Path) -> None:
    """Wait for the network file, which the directory writes when it first starts; not for long."""
    end = time.monotonic() + FILE_SECONDS
    if not network.exists():
        note(f"there is no network file at {network} yet; waiting {FILE_SECONDS:.0f} s for it.")
    while not network.exists() and time.monotonic() < end:
        time.sleep(PAUSE_SECONDS)


async def until_directory_answers(attempt: Callable[[], Awaitable[T]]) -> T:
    """What `attempt` returns, tried for ever while no directory answers or the clocks differ, ever less
    often: who runs a relay or hosts an endpoint wants it back after a power cut, whichever machine comes up
    first, and whenever its clock is set. Each thing that is waited for is said once."""
    import trio

    from onionshh.net.directory import NotThisNetwork

    said: type[Error] | None = None
    pause = PAUSE_SECONDS
    while True:
        try:
            return await attempt()
        except NotThisNetwork:
            raise  # waiting mends no file
        except (NoDirectory, ClockWrong) as error:
            if type(error) is not said:
                said = type(error)
                end = "the times agree" if isinstance(error, ClockWrong) else "it answers"
                note(f"{one_line(str(error))} Trying again until {end}.")
        await trio.sleep(pause)
        pause = min(1.5 * pause, PAUSE_MOST_SECONDS)
