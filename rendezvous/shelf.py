"""What a ring relay keeps: descriptors by name, under a cap that is shared fairly (SPEC 10, 17).

Everything is in memory, and what must survive a restart is on disk too (`ring_store.py`). A row on disk has a
serial number of its own, which is never used again, also not for a later revision of the same name. So an
erasure names exactly one row, and may come late or twice without harm. Rows to be erased gather here until
the role has them erased.

A neighbour is known here by a label only. The label is a hash under a salt that is drawn at each start and
never written. So the rows on disk say which of them came over one neighbour, which the sharing needs, and not
over which: for an endpoint that would be its second hop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from onionshh.core.roles import Origin
from onionshh.crypto.primitives import sha3_256
from onionshh.rendezvous.shares import Rank, Shares

Name = tuple[bytes, int]
"""A blinded key and its period."""

LABEL: Final = 8

ERASED_AT_ONCE: Final = 256
"""Rows that one request to the store erases."""


@dataclass(frozen=True, slots=True)
class Row:
    """A descriptor as it is on disk.

    `number` is the age of its name: names are numbered as they come. `worth` is the effort of its proof.
    """

    serial: int
    name: Name
    number: int
    worth: int
    label: str
    document: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Erase:
    """Erase the rows with these serial numbers, where they are still there."""

    serials: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """One descriptor. `serial`: of its row on disk; None if it is in memory only."""

    revision: int
    expiry: int
    number: int
    document: bytes = field(repr=False)
    serial: int | None = None


class Shelf:
    """Descriptors by name. `most()`: how many there is room for, `math.inf` for no cap."""

    def __init__(self, most: Callable[[], float], salt: bytes) -> None:
        self._most = most
        self._salt = salt
        self._kept: dict[Name, Kept] = {}
        self._shares: Shares[Name] = Shares()
        self._numbered = 0
        self._serial = 0
        self._erasable: dict[int, None] = {}
        """Serial numbers of rows that are to go from disk, in the order in which they were given up."""
        self._erasing: Erase | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, name: Name) -> bool:
        return name in self._kept

    @property
    def is_full(self) -> bool:
        """Whether there is no free place."""
        return len(self._kept) >= self._most()

    def get(self, name: Name) -> Kept | None:
        """The descriptor of this name, also if it has expired."""
        return self._kept.get(name)

    def label(self, origin: Origin) -> str:
        """What a neighbour is called here, until the next start."""
        text = origin if isinstance(origin, bytes) else origin.encode()
        return sha3_256(self._salt, text)[:LABEL].hex()

    def next_serial(self) -> int:
        """The serial number of a new row."""
        self._serial += 1
        return self._serial

    def next_number(self) -> int:
        """The number of a new name."""
        self._numbered += 1
        return self._numbered

    def lesser(self, name: Name, label: str) -> str:
        """The neighbour that a name counts for when it comes again over this one: the one that holds less.

        A stranger may bring it again over a crowded neighbour. That must not get it displaced.
        """
        return str(self._shares.lesser(name, label)) if name in self._kept else label

    def has_room(self, name: Name, label: str, worth: int) -> bool:
        """Whether a new name would be kept, in a free place or in that of another."""
        if not self.is_full:
            return True
        return self._most() > 0 and self._shares.would_stay(name, label, _rank(worth, self._numbered + 1))

    def keep(self, name: Name, kept: Kept, label: str, worth: int) -> tuple[Name, ...]:
        """Keep a descriptor, instead of an earlier one of the same name. Returns the names that had to go,
        perhaps this one too. The row on disk of the earlier one, if any, was replaced already."""
        self._put(name, kept, label, worth)
        displaced = []
        while len(self._kept) > self._most():
            displaced.append(self._shares.goes_first())
            self.forget(displaced[-1])
        return tuple(displaced)

    def restore(self, row: Row, revision: int, expiry: int) -> None:
        """Take up what is on disk, before anything else is kept."""
        self._numbered = max(self._numbered, row.number)
        self._serial = max(self._serial, row.serial)
        kept = Kept(revision, expiry, row.number, row.document, row.serial)
        self._put(row.name, kept, row.label, row.worth)

    def damaged(self, serial: int) -> None:
        """A row from disk that nobody can read."""
        self._serial = max(self._serial, serial)
        self.erase(serial)

    def forget(self, name: Name) -> None:
        """Keep this one no more."""
        kept = self._kept.pop(name, None)
        if kept is not None:
            self._shares.remove(name)
            self.erase(kept.serial)

    def sweep(self, wall: int, stays: Callable[[int], bool]) -> None:
        """Forget what has expired at this time (Unix seconds), and whole periods that do not stay."""
        over = {period for period in {name[1] for name in self._kept} if not stays(period)}
        for name, kept in list(self._kept.items()):
            if wall >= kept.expiry or name[1] in over:
                self.forget(name)

    # What must go from disk.

    def erase(self, serial: int | None) -> None:
        """This row must go from disk; None for no row."""
        if serial is not None:
            self._erasable[serial] = None

    def next_erasure(self) -> Erase | None:
        """The rows to erase next, at most `ERASED_AT_ONCE`. None for no rows, and while others are erased."""
        if self._erasing is not None or not self._erasable:
            return None
        self._erasing = Erase(tuple(islice(self._erasable, ERASED_AT_ONCE)))
        return self._erasing

    def erased(self, *, done: bool) -> None:
        """The rows of the last `next_erasure` are gone from disk, or not `done`: then they come again."""
        erasing, self._erasing = self._erasing, None
        if done and erasing is not None:
            for serial in erasing.serials:
                del self._erasable[serial]

    def _put(self, name: Name, kept: Kept, label: str, worth: int) -> None:
        self._kept[name] = kept
        self._shares.add(name, label, _rank(worth, kept.number))


def _rank(worth: int, number: int) -> Rank:
    """The least effort goes first; among equals, the youngest name."""
    return (worth, -number)
