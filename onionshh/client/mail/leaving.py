"""Leaves letters at relays, and goes on until each part is there or its time is over (SPEC 14).

A letter has 1, 4 or 16 parts; each part is an item of its own, to be kept at 4 relays.

| moment                    | what is kept first                      | what happens                              |
|---------------------------|-----------------------------------------|-------------------------------------------|
| `leave`                   | all parts: keys, sealed bytes           | `leave` returns; the proofs are looked for |
| a part's proof is found   | the proof                               | its first PUT                             |
| each PUT to a new relay   | that this relay may have the part       | PUT over a circuit of its own             |
| a relay has it            | that it has it                          | the next relay, 1 to 30 s later           |
| a relay wants more work   | the better proof                        | PUT again, and to all others with it      |
| a relay cannot be reached |                                         | again later, up to half an hour later     |
| `recall`                  | that the letter is called back          | every relay that may have a part erases it |
| the time is over          |                                         | the rows are erased                       |

After a crash `restore` goes on with the same ids and the same bytes, so a relay sees the same PUT again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from onionshh.client.context import Context
from onionshh.client.mail.deposits import Deposits, SealedItem
from onionshh.errors import Error
from onionshh.ids import WhisperId

PARTS_MOST: Final = 1024
"""Parts of all letters of one Leaving."""


class TooMuchMail(Error):
    """Too many letters wait to be left. Those that are there must be stored or expire first."""


class Told(Protocol):
    """Whoever wants to know how it goes. Must not raise, and must return soon."""

    def proving(self, letter: WhisperId, seconds: float, tries: int) -> None:
        """So much work was done for this letter until now. Told about once a second during work."""

    def stored(self, letter: WhisperId, copies: int, enough: bool) -> None:
        """How many relays have the letter, whenever that changes: of the part that the fewest have, 0 to 4.
        `enough`: every part is at one relay of each place, so the letter is stored."""

    def not_stored(self, letter: WhisperId, why: str) -> None:
        """No relay takes it now, for this reason, in words for people: all refuse it, or want more work than
        we do. Told once, until a relay takes it. It is tried again now and then until its time is over."""


class Leaving:
    """All letters that one contact or endpoint leaves. `run` does the work; everything else may be called
    at any time, also before it runs."""

    def __init__(self, context: Context, deposits: Deposits, told: Told) -> None:
        self._context = context
        self._deposits = deposits
        self._told = told

    async def restore(self) -> None:
        """Go on with the letters of the last run. Call it once, at the start. `stored` is told for each that
        has copies. BadData, Closed."""
        raise NotImplementedError

    async def leave(self, letter: WhisperId, parts: Sequence[SealedItem], until: int) -> None:
        """Leave a letter with these parts, in this order, and try until `until` (Unix seconds). It is on disk
        when this returns. Nothing happens if the letter is known. BadData, Closed, TooMuchMail."""
        raise NotImplementedError

    async def recall(self, letter: WhisperId) -> bool:
        """Erase it wherever it may be: leave no further copy, and tell each relay that may have one, now and
        again until its time is over. It is on disk that it is called back when this returns, at most a minute
        later. True if no relay has it any more, as far as the relays are to be believed; also for a letter
        that is unknown here. BadData, Closed."""
        raise NotImplementedError

    def forget(self, letter: WhisperId) -> None:
        """Stop, and erase what is kept of it. The copies stay at the relays until they expire."""
        raise NotImplementedError

    def copies(self, letter: WhisperId) -> int:
        """How many relays have every part of it, 0 to 4. 0 for a letter that is unknown or called back."""
        raise NotImplementedError

    async def run(self) -> None:
        """Do the work, until cancelled."""
        raise NotImplementedError
