"""Carries out what a Sender decides about letters: seals them, has them left at relays, recalls them (SPEC
14).

The Sender says which whisper is left, and when. How it is sealed and where it is left is the mail's business:
a contact writes to the endpoint's inbox, an endpoint to the mailbox of a pair.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

import trio

from onionshh.client.delivery.lanes import LaneSet
from onionshh.client.mail.leaving import Told, TooMuchMail
from onionshh.client.receipt import Course, Outcome
from onionshh.core.delivery.actions import Actions
from onionshh.core.delivery.record import Record
from onionshh.core.delivery.sender import Sender
from onionshh.errors import BadData, Closed
from onionshh.ids import WhisperId
from onionshh.net.clocks import Clock

logger = logging.getLogger("onionshh.client")

AGAIN_SECONDS = 600.0
"""When to try again where the disk or the bound of letters stood in the way."""


class NotLeft(Exception):
    """A whisper cannot be left in a mailbox now, for this reason, in words for people. `again_seconds`: when
    to try again; inf: never."""

    def __init__(self, why: str, again_seconds: float = inf) -> None:
        super().__init__(why)
        self.why = why
        self.again_seconds = again_seconds


class Mail(Protocol):
    """Takes whispers to the other end's mailbox."""

    @property
    def receipts(self) -> bool:
        """Whether the other end sends receipts, as far as is known."""

    async def leave(self, record: Record) -> None:
        """Seal this whisper and begin to leave it. What is left is on disk when this returns, if anything of
        this end is. Nothing happens if it is being left already. NotLeft, TooMuchMail, BadData, Closed."""

    async def recall(self, whisper: WhisperId) -> bool:
        """Have it erased wherever it may be. True if no relay has it any more. BadData, Closed."""

    def has(self, whisper: WhisperId) -> bool:
        """Whether it was left in an earlier run."""


MakesMail = Callable[[Told], Mail]
"""The mail of one Sender; what becomes of its letters is told to the argument."""


@dataclass(slots=True)
class _Leave:
    """A whisper that is being sealed, or that waits for its turn to be left. `over`: it is left, or not."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    over: trio.Event = field(default_factory=trio.Event)


class Mailing:
    """The letters of one Sender. `do` carries out the Sender's actions; `outcome` finds what a receipt
    shows."""

    def __init__(
        self,
        make: MakesMail,
        sender: Sender,
        clock: Clock,
        lanes: LaneSet,
        do: Callable[[Actions], None],
        outcome: Callable[[WhisperId], Outcome | None],
    ) -> None:
        self._mail = make(self)
        self._sender = sender
        self._clock = clock
        self._lanes = lanes
        self._do = do
        self._outcome = outcome
        self._early: dict[WhisperId, tuple[int, bool]] = {}
        """What was told of letters of an earlier run before the Sender knew their whispers."""
        self._being_left: dict[WhisperId, _Leave] = {}

    def restored(self, whisper: WhisperId) -> None:
        """The Sender goes on with a whisper of an earlier run. If that left it as a letter, so does this."""
        if self._mail.has(whisper):
            self._sender.restored_letter(whisper)
        if whisper in self._early:
            self.stored(whisper, *self._early.pop(whisper))

    def deposit(self, record: Record) -> None:
        """The Sender asks to have this whisper left."""
        if self._lanes.nursery is not None:
            leave = self._being_left[record.whisper_id] = _Leave()
            self._lanes.soon(self._leave, record, leave)

    def recall(self, whisper: WhisperId) -> None:
        """The Sender asks to have what is left of this whisper erased."""
        self._lanes.soon(self.recalled, whisper)

    async def recalled(self, whisper: WhisperId) -> bool:
        """Have it erased. Returns whether no relay has it any more. If it is being left just now, that ends
        first: to seal it may take minutes, and nobody would recall what is left after this."""
        leave = self._being_left.get(whisper)
        if leave is not None:
            leave.scope.cancel()
            await leave.over.wait()
        try:
            return await self._mail.recall(whisper)
        except BadData as error:
            logger.error("a letter could not be recalled: %s", error)
        except Closed:
            pass
        return False

    async def _leave(self, record: Record, leave: _Leave) -> None:
        try:
            with leave.scope:
                await self._leave_now(record)
        finally:
            leave.over.set()
            if self._being_left.get(record.whisper_id) is leave:
                del self._being_left[record.whisper_id]

    async def _leave_now(self, record: Record) -> None:
        why, again_seconds = "", inf
        try:
            await self._mail.leave(record)
        except NotLeft as error:
            why, again_seconds = error.why, error.again_seconds
        except (TooMuchMail, BadData) as error:
            why, again_seconds = str(error), AGAIN_SECONDS
        except Closed:
            return
        else:
            self._sender.gets_receipts = self._sender.gets_receipts and self._mail.receipts
            return
        self._note(record.whisper_id, why)
        self._do(self._sender.not_stored(record.whisper_id, why, self._clock.monotonic() + again_seconds))

    # As `Told`.

    def proving(self, letter: WhisperId, seconds: float, tries: int) -> None:
        """As `Told.proving`."""
        course = self._course(letter)
        if course is not None:
            course.proof_seconds, course.proof_tries, course.not_stored = seconds, tries, ""
            course.changed.send()

    def stored(self, letter: WhisperId, copies: int, enough: bool) -> None:
        """As `Told.stored`."""
        course = self._course(letter)
        if course is None:
            self._early[letter] = copies, enough
            return
        course.copies, course.not_stored = copies, ""
        course.changed.send()
        if enough:
            self._do(self._sender.stored(letter, self._clock.monotonic()))

    def not_stored(self, letter: WhisperId, why: str) -> None:
        """As `Told.not_stored`."""
        self._note(letter, why)
        outcome = self._outcome(letter)
        if outcome is not None and outcome.status != "stored":
            outcome.tell(outcome.status, why)

    def _note(self, letter: WhisperId, why: str) -> None:
        course = self._course(letter)
        if course is not None:
            course.not_stored = str(why)
            course.changed.send()

    def lapsed(self, letter: WhisperId) -> None:
        """As `Told.lapsed`: the Sender has it left once more."""
        self._do(self._sender.not_stored(letter, "", self._clock.monotonic()))

    def _course(self, letter: WhisperId) -> Course | None:
        outcome = self._outcome(letter)
        return None if outcome is None else outcome.course
