"""One letter on its way: its parts together, what is told of it, and its end."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Protocol

import trio

from onionshh.client.context import Context
from onionshh.client.mail.deposits import Deposits, KeptLetter
from onionshh.client.mail.one_item import OneItem
from onionshh.core.base.patience import RECALL_SECONDS
from onionshh.ids import WhisperId
from onionshh.wire import mailbox as w

LOOK_SECONDS: Final = 60.0


class NotStored(StrEnum):
    """Why no relay takes a letter, in words for people."""

    DEAR = "its relays want more work for it than this node does"
    FULL = "its relays have no room for it"
    REFUSED = "its relays refuse it"


class Told(Protocol):
    """Whoever wants to know how it goes. Must not raise, and must return soon."""

    def proving(self, letter: WhisperId, seconds: float, tries: int) -> None:
        """So much work was done for this letter in this run until now. Told about once a second during work,
        and when a proof is found."""

    def stored(self, letter: WhisperId, copies: int, enough: bool) -> None:
        """How many relays have the letter, whenever that changes: of the part that the fewest have, 0 to 4.
        `enough`: every part is at one relay of each place, so the letter is stored."""

    def not_stored(self, letter: WhisperId, why: NotStored) -> None:
        """It, or one of its parts, is taken by no relay of one of its places now. Told once, until a relay
        takes it. It is tried again now and then until its time is over."""

    def lapsed(self, letter: WhisperId) -> None:
        """The mailbox's period is over, and too few relays have the letter. It is forgotten: seal it again
        for a mailbox of the present period."""


class OneLetter:
    """`run` does the work. `over`: the letter needs no row any more."""

    def __init__(self, context: Context, deposits: Deposits, kept: KeptLetter, told: Told) -> None:
        self.letter = kept.letter
        self._clock = context.clock
        self._told = told
        self._copies = (0, False)
        self._complained = False
        self._work = (0.0, 0)
        self._recalled = False
        self._erased = trio.Event()
        self._scope = trio.CancelScope()
        self.parts = tuple(
            OneItem(context, deposits, item, kept.until, changed=self._look, worked=self._worked)
            for item in kept.items
        )
        if kept.recalled:
            self.recall()

    @property
    def copies(self) -> int:
        """How many relays have every part, as far as is known."""
        return min((part.copies.stored for part in self.parts), default=0)

    @property
    def enough(self) -> bool:
        """Whether every part is at one relay of each place."""
        return all(part.copies.enough for part in self.parts)

    @property
    def expires(self) -> int:
        """When its last part ends: Unix seconds."""
        return max(part.expires for part in self.parts)

    @property
    def work(self) -> tuple[float, int]:
        """Seconds and tries that its proofs took in this run."""
        return self._work

    @property
    def called_back(self) -> bool:
        """Whether it was called back."""
        return self._recalled

    @property
    def erased(self) -> bool:
        """Whether it was called back and no relay has it."""
        return self._erased.is_set()

    @property
    def lapsed(self) -> bool:
        """Whether a part of it can be left no more, and too few relays have it."""
        return any(part.lapsed for part in self.parts)

    def show(self) -> None:
        """Tell what is known from the last run."""
        self._look()

    async def run(self) -> None:
        """Do what is to be done until the relays have erased it all, at the end of its time or earlier, or
        until it has lapsed."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                for part in self.parts:
                    nursery.start_soon(part.run)
                while self._clock.earliest() < self.expires and not self.erased and not self.lapsed:
                    with trio.move_on_after(LOOK_SECONDS):
                        await self._erased.wait()
                nursery.cancel_scope.cancel()

    def stop(self) -> None:
        """End `run`, or let it end at once."""
        self._scope.cancel()

    def extend(self, expires: int) -> None:
        """Have it end at this time, Unix seconds."""
        for part in self.parts:
            part.extend(expires)
        self._look()

    def recall(self) -> None:
        """Have it erased wherever it may be."""
        if not self._recalled:
            self._recalled = True
            for part in self.parts:
                part.recall()
            self._look()

    async def recalled(self) -> bool:
        """Wait a minute until no relay has it any more. Returns whether that is so, and none of them said
        that the reader has fetched it."""
        with trio.move_on_after(RECALL_SECONDS):
            await self._erased.wait()
        return self.erased and not any(part.copies.read for part in self.parts)

    def _look(self) -> None:
        """Something has changed: tell what is new."""
        if self._recalled:
            if all(part.copies.erased for part in self.parts):
                self._erased.set()
            return
        copies = self.copies, self.enough
        if copies != self._copies:
            self._copies = copies
            self._complained = False
            self._told.stored(self.letter, *copies)
        refusals = frozenset().union(*(part.refusals for part in self.parts))
        if refusals and not self._complained:
            self._complained = True
            self._told.not_stored(self.letter, _why(refusals))

    def _worked(self, seconds: float, tries: int) -> None:
        self._work = self._work[0] + seconds, self._work[1] + tries
        self._told.proving(self.letter, *self._work)


def _why(refusals: frozenset[int]) -> NotStored:
    if w.FULL in refusals:
        return NotStored.FULL
    return NotStored.DEAR if w.DEAR in refusals else NotStored.REFUSED
