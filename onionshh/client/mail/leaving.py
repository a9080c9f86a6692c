"""Leaves letters at relays, and goes on until each part is there or its time is over (SPEC 14).

A letter has 1, 4 or 16 parts. Each part is an item of its own, to be kept by 4 relays.

| moment                    | kept first                    | what happens                              |
|---------------------------|-------------------------------|-------------------------------------------|
| `leave`                   | all parts: keys, sealed bytes | `leave` returns; proofs are looked for    |
| a part's proof is found   | the proof                     | its first PUT                             |
| a PUT to another relay    | that this relay may have it   | PUT, over a circuit of its own            |
| a relay has it            |                               | that is kept; next relay, 1 to 30 s later |
| a relay wants more work   | the better proof              | it and those after it get this proof      |
| a relay cannot be reached |                               | again later, at most every half an hour   |
| `extend`                  | the new end, a new revision   | new proofs, and all relays once more      |
| `recall`                  | that it is called back        | every relay that may have it erases it    |
| the time is over          |                               | the rows are erased                       |

After a crash `restore` goes on with the same ids and the same bytes, so a relay sees the same PUT again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Final

import trio

from onionshh.client.context import Context
from onionshh.client.mail.deposits import EXTENSIONS_MOST, Deposits, KeptItem, KeptLetter, SealedItem
from onionshh.client.mail.one_letter import NotStored, OneLetter, Told
from onionshh.errors import BadData, Closed, Error
from onionshh.ids import WhisperId

__all__ = ["PARTS_MOST", "Leaving", "NotStored", "SealedItem", "Told", "TooMuchMail"]

PARTS_MOST: Final = 1024
"""Parts of all letters of one Leaving."""


class TooMuchMail(Error):
    """Too many letters wait to be left. Those that are there must be stored or expire first."""


class Leaving:
    """All letters that one contact or endpoint leaves. `run` does the work. Everything else may be called at
    any time, also before it runs."""

    def __init__(self, context: Context, deposits: Deposits, told: Told) -> None:
        self._context = context
        self._deposits = deposits
        self._told = told
        self._letters: dict[WhisperId, OneLetter] = {}
        self._adding = trio.Lock()
        self._nursery: trio.Nursery | None = None

    def __len__(self) -> int:
        """How many letters are being left or called back."""
        return len(self._letters)

    def __contains__(self, letter: WhisperId) -> bool:
        return letter in self._letters

    def is_left(self, letter: WhisperId) -> bool:
        """Whether it is known here, and not called back."""
        one = self._letters.get(letter)
        return one is not None and not one.called_back

    def is_enough(self, letter: WhisperId) -> bool:
        """Whether every part of it is at one relay of each place."""
        one = self._letters.get(letter)
        return one is not None and one.enough

    def kind(self, letter: WhisperId) -> int | None:
        """The kind of mailbox that it is left in. None if it is unknown."""
        one = self._letters.get(letter)
        return None if one is None else one.parts[0].mailbox.kind

    def period(self, letter: WhisperId) -> int | None:
        """The period of the mailbox that it is left in. None if it is unknown."""
        one = self._letters.get(letter)
        return None if one is None else one.parts[0].mailbox.period

    def expires(self, letter: WhisperId) -> int | None:
        """When the relays erase it: Unix seconds. None if it is unknown."""
        one = self._letters.get(letter)
        return None if one is None else one.expires

    def work(self, letter: WhisperId) -> tuple[float, int]:
        """Seconds and tries that proofs for it took in this run."""
        one = self._letters.get(letter)
        return (0.0, 0) if one is None else one.work

    def letters_in(self, mailboxes: Collection[bytes]) -> list[WhisperId]:
        """The letters that lie in mailboxes of these names."""
        return [
            letter
            for letter, one in self._letters.items()
            if any(part.mailbox.name in mailboxes for part in one.parts)
        ]

    async def restore(self) -> None:
        """Go on with the letters of the last run. Call it once, at the start. `Told.stored` is told of each
        that has copies. BadData, Closed."""
        for kept in await self._deposits.load():
            if kept.letter not in self._letters:
                self._add(kept).show()

    async def leave(self, letter: WhisperId, parts: Sequence[SealedItem], until: int) -> None:
        """Leave a letter with these parts, and try until `until` (Unix seconds). It is on disk when this
        returns. Nothing happens if the letter is known. BadData, Closed, TooMuchMail."""
        async with self._adding:  # two tasks may leave the same one
            if letter in self._letters:
                return
            if sum(len(one.parts) for one in self._letters.values()) + len(parts) > PARTS_MOST:
                raise TooMuchMail(
                    "too many letters wait for room at relays; wait until some of them are stored"
                )
            await self._deposits.add(letter, parts, until)
            self._add(KeptLetter(letter, until, False, tuple(map(KeptItem.of, parts))))

    async def extend(self, letter: WhisperId, expires: int) -> None:
        """All its parts end at this time from now on, Unix seconds. It is on disk when this returns. Nothing
        happens for a letter that is unknown or called back. ValueError when it was extended too often;
        BadData, Closed."""
        async with self._adding:  # two extensions at once would have one revision
            one = self._letters.get(letter)
            if one is not None and not one.called_back:
                if one.parts[0].revision >= EXTENSIONS_MOST:
                    raise ValueError(f"A post can be extended {EXTENSIONS_MOST} times; post it again.")
                await self._deposits.extended(letter, expires)
                one = self._letters.get(letter)
                if one is not None and not one.called_back:
                    one.extend(expires)

    async def recall(self, letter: WhisperId) -> bool:
        """Erase it wherever it may be: leave no further copy, and tell each relay that may have one, now and
        again until its time is over. It is on disk that it is called back when this returns, at most a minute
        later. True if no relay has it any more, as far as the relays are to be believed; also for a letter
        that is unknown here. BadData, Closed: then it is not on disk, but the relays are told all the same.
        """
        one = self._letters.get(letter)
        if one is None:
            return True
        one.recall()
        await self._deposits.recalled(letter)
        return await one.recalled()

    def recall_soon(self, letter: WhisperId) -> None:
        """As `recall`, in the background: for a letter of which a copy has been read, or that nobody needs.
        Nobody is told how it ends."""
        one = self._letters.get(letter)
        if one is not None:
            one.recall()
            self._context.nursery.start_soon(self._note_recall, letter)

    def forget(self, letter: WhisperId) -> None:
        """Stop, and erase what is kept of it. The copies stay at the relays until they expire."""
        one = self._letters.pop(letter, None)
        if one is not None:
            one.stop()
            self._deposits.forget(letter)

    def copies(self, letter: WhisperId) -> int:
        """How many relays have every part of it, 0 to 4. 0 for a letter that is unknown or called back."""
        one = self._letters.get(letter)
        return one.copies if one is not None else 0

    async def run(self) -> None:
        """Do the work, until cancelled. Call it once."""
        async with trio.open_nursery() as self._nursery:
            for one in self._letters.values():
                self._nursery.start_soon(self._run, one)
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def _add(self, kept: KeptLetter) -> OneLetter:
        one = self._letters[kept.letter] = OneLetter(self._context, self._deposits, kept, self._told)
        if self._nursery is not None:
            self._nursery.start_soon(self._run, one)
        return one

    async def _run(self, one: OneLetter) -> None:
        await one.run()
        if self._letters.get(one.letter) is one:
            if one.lapsed:
                self._told.lapsed(one.letter)
            self.forget(one.letter)

    async def _note_recall(self, letter: WhisperId) -> None:
        with suppress(BadData, Closed):
            await self._deposits.recalled(letter)
