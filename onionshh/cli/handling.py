"""From "shown" to "handled": a whisper that the endpoint has taken on is not finished before it is handled.

Its sender has been told that it was delivered. Many things can go wrong here: a program that cannot be run,
a full disk, no file descriptor or memory left. None of them loses the whisper or ends the command: the
whisper is tried again, and after a restart it is shown again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import trio

from onionshh.cli.remarks import Trouble, why_refused
from onionshh.client.endpoint import Endpoint
from onionshh.client.incoming import IncomingTransfer
from onionshh.client.whisper import Whisper
from onionshh.errors import BadData, Closed

T = TypeVar("T")

HANDLED_AT_ONCE = 8
AGAIN_AT_ONCE = 4
"""Places for whispers that were tried before; the other places are for new ones."""
HANDLE_AGAIN_SECONDS = 1.0
HANDLE_AGAIN_MOST_SECONDS = 300.0
SYSTEM_MOST_SECONDS = 10.0

NOT_NOW = (BadData, OSError, MemoryError)
"""Errors of a disk or a system that refuses now and may allow it later."""

Handle = Callable[[Whisper], Awaitable[bytes | None]]
"""The reply to a whisper, None for none. NotHandled, and `NOT_NOW`, when it is to be tried again."""


class NotHandled(Exception):
    """The whisper is not handled, but another try may succeed. The message is the reason, in words."""


@dataclass(slots=True)
class Tally:
    """Whispers since the start: shown or given to be handled, finished, and kept for another try now."""

    taken: int = 0
    finished: int = 0
    kept: int = 0


class Patience:
    """Repeats work that must be done until the system allows it, and says once that it does not. `thing`:
    what the work is about, `whisper` or `transfer`."""

    def __init__(self, thing: str = "whisper") -> None:
        self._thing = thing
        self._trouble = Trouble(f"{thing}s can be taken and finished again.")
        self._refused = 0
        """How many wait for the system now."""

    async def __call__(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` returns. It may be called many times. Any error other than `NOT_NOW` is raised."""
        pause, refused = HANDLE_AGAIN_SECONDS, False
        try:
            while True:
                try:
                    result = await work()
                    break
                except NOT_NOW as error:
                    self._refused += not refused
                    refused = True
                    why = why_refused(error).rstrip(".")
                    self._trouble.on(
                        f"a {self._thing} cannot be taken or finished ({why}); trying until it can."
                    )
                await trio.sleep(pause)
                pause = min(2 * pause, SYSTEM_MOST_SECONDS)
        finally:
            self._refused -= refused
        if not self._refused:
            self._trouble.off()
        return result

    async def next(self, endpoint: Endpoint) -> Whisper | None:
        """The next whisper, without finishing the one before: each call is an iteration of its own. None once
        the endpoint is closed."""
        with suppress(Closed):
            return await self(lambda: anext(aiter(endpoint), None))
        return None

    async def next_transfer(self, endpoint: Endpoint) -> IncomingTransfer | None:
        """As `next`, the next transfer."""
        with suppress(Closed):
            return await self(lambda: anext(endpoint.transfers(), None))
        return None


class Handling:
    """Handles whispers, eight at once: a way for `Taking`. A whisper that is kept waits in a task of its own,
    outside the eight, 1 s and longer each time. There are no more of these tasks than the endpoint's inbox
    holds whispers."""

    def __init__(
        self, handle: Handle, came: Callable[[Whisper], None], patience: Patience, tally: Tally
    ) -> None:
        self._handle = handle
        self._came = came
        self._patience = patience
        self._tally = tally
        self._kept = Trouble("every whisper that was kept is handled.")
        self._places = trio.Semaphore(HANDLED_AT_ONCE)
        self._again = trio.Semaphore(AGAIN_AT_ONCE)

    async def room(self) -> None:
        """Wait for one of the eight places, and take it."""
        await self._places.acquire()

    def no_whisper(self) -> None:
        """The place is free again."""
        self._places.release()

    async def handle(self, whisper: Whisper, left: trio.Event) -> None:
        """Handle one whisper, until that has succeeded. `room` has taken a place for its first try. Once
        `left` is set, there is no other try: the whisper is let go, and shown to who comes after."""
        self._came(whisper)
        try:
            handled = await self._try(whisper, left)
        finally:
            self._places.release()
        if not handled:
            await self._keep(whisper, left)

    async def _keep(self, whisper: Whisper, left: trio.Event) -> None:
        self._tally.kept += 1
        handled, pause = False, HANDLE_AGAIN_SECONDS
        while not handled:
            with trio.move_on_after(pause):
                await left.wait()
            if left.is_set():
                break
            pause = min(2 * pause, HANDLE_AGAIN_MOST_SECONDS)
            async with self._again, self._places:
                handled = not left.is_set() and await self._try(whisper, left)
        self._tally.kept -= 1
        if not handled:
            whisper.let_go()
        if not self._tally.kept and handled:
            self._kept.off()
        elif not self._tally.kept:
            self._kept.forget()

    async def _try(self, whisper: Whisper, left: trio.Event) -> bool:
        """Whether the whisper is handled now. One that cannot be finished keeps its place, since no other
        could be finished either."""
        try:
            reply = await self._handle(whisper)
        except (NotHandled, *NOT_NOW) as error:
            if not left.is_set():
                self._kept.on(f"a whisper is kept and tried again: {why_refused(error).rstrip('.')}.")
            return False
        with suppress(Closed):
            await self._patience(whisper.done if reply is None else lambda: whisper.reply(reply))
            self._tally.finished += 1
        return True
