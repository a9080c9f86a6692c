"""`host` without `--echo` and `--exec`: whispers are shown, one after the other, in the order they came.

People are shown a whisper, and it is finished. A program (`--json`) is shown it, and it is finished when its
line comes on stdin (answers.py).
"""

from __future__ import annotations

from contextlib import suppress

import trio

from onionshh.cli.answers import Answers
from onionshh.cli.handling import Patience, Tally
from onionshh.cli.voice import Voice
from onionshh.client.whisper import Whisper
from onionshh.errors import Closed


class Showing:
    """Shows whispers to people. What was shown is finished."""

    def __init__(self, voice: Voice, patience: Patience, tally: Tally) -> None:
        self._voice = voice
        self._patience = patience
        self._tally = tally
        self._turn = trio.Semaphore(1)

    async def run(self) -> None:
        """Nothing is done beside the showing."""

    async def room(self) -> None:
        """Wait until the whisper before is finished."""
        await self._turn.acquire()

    def no_whisper(self) -> None:
        """The turn is free again."""
        self._turn.release()

    async def handle(self, whisper: Whisper, left: trio.Event) -> None:
        """Show it and finish it, also when another way has come: it may be half written by then."""
        try:
            await self._voice.show(whisper)
            with suppress(Closed):
                await self._patience(whisper.done)
                self._tally.finished += 1
        finally:
            self._turn.release()


class ShowingAndHolding:
    """Shows whispers to a program, each held until its line comes on stdin."""

    def __init__(self, voice: Voice, answers: Answers) -> None:
        self._voice = voice
        self._answers = answers
        self._begun = trio.Event()
        self._turn = trio.Semaphore(1)

    async def run(self) -> None:
        """Read stdin from the first `room` on, also when another way has come: a line may be for what was
        shown before."""
        await self._begun.wait()
        await self._answers.run()

    async def room(self) -> None:
        """Wait until the whisper before is shown, and one more can be held."""
        if not self._begun.is_set():
            self._answers.look()
            self._begun.set()
        await self._turn.acquire()
        try:
            await self._answers.room()
        except BaseException:
            self._turn.release()
            raise

    def no_whisper(self) -> None:
        """The turn is free again."""
        self._turn.release()

    async def handle(self, whisper: Whisper, left: trio.Event) -> None:
        """Show it. It is finished when its line comes, also when another way has come, or at once if no line
        can come."""
        self._answers.hold(whisper)
        try:
            await self._voice.show(whisper)
            with suppress(Closed):
                await self._answers.shown(whisper)
        finally:
            self._turn.release()
