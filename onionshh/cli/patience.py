"""A directory that starts together with us may be a moment late."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from onionshh.cli.talk import note
from onionshh.errors import NoDirectory

PATIENCE_SECONDS = 15.0
PAUSE_SECONDS = 0.5

T = TypeVar("T")


async def until_directory_answers(attempt: Callable[[], Awaitable[T]]) -> T:
    """What `attempt` returns, tried again for some seconds while no directory answers. NoDirectory."""
    import trio

    deadline = trio.current_time() + PATIENCE_SECONDS
    said = False
    while True:
        try:
            return await attempt()
        except NoDirectory:
            if trio.current_time() >= deadline:
                raise
            if not said:
                note(f"no directory answers; trying for {PATIENCE_SECONDS:.0f} s.")
                said = True
        await trio.sleep(PAUSE_SECONDS)
