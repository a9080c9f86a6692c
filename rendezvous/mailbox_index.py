"""What a relay knows of its mailboxes without going to the disk: every item but its value (SPEC 14).

An item's number is its place in its mailbox. Numbers of a mailbox never fall, so a reader who asks for what
comes after a number misses nothing. They are made from the time, so they go on rising after a restart, and
after a mailbox was empty and was forgotten.

An item that is erased before its time is remembered by its id, revision and expiry. Else a copy of its
deposit, which another relay still has, would bring it back. Such an id takes a place too: there is a bound on
items, and one on ids.

What must go from disk gathers here until the role has it erased (`next_erasure`). It is not served meanwhile.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from onionshh.rendezvous.mailbox_rows import Blank, Erase, Held
from onionshh.wire.mailbox import Mailbox

ITEM_BYTES: Final = 6656
"""What an item takes on disk, with the free space of its pages (tests/benchmarks/mailboxes.py)."""
IDS_PER_ITEM: Final = 3
"""Ids that are known, erased ones too, for each item that there is room for. An id takes half a kilobyte of
memory."""
ERASED_AT_ONCE: Final = 1024
"""Rows that one request to the store erases."""
SWEPT_AT_ONCE: Final = 2000
"""Items that one sweep forgets, which takes some milliseconds."""
NUMBERS_PER_SECOND: Final = 1 << 20

_HEAP_SLACK: Final = 64


class _Box:
    """One mailbox: its ids, its items by their numbers, how many are being written, and its last number."""

    __slots__ = ("ids", "items", "last", "mailbox", "writing")

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.ids: dict[bytes, Held] = {}
        self.items: dict[int, Held] = {}
        """In the order of their numbers. Without what was erased."""
        self.last = 0
        self.writing = 0


class Index:
    """All mailboxes of one relay. `most_bytes()`: the room for items, 0 for no limit."""

    def __init__(self, most_bytes: Callable[[], int]) -> None:
        self._most_bytes = most_bytes
        self._boxes: dict[Mailbox, _Box] = {}
        self._by_serial: dict[int, Held] = {}
        self._items = 0
        self._writing = 0
        self._serial = 0
        self._floor = 0
        """The latest time that numbers were made from. The clock may have been set back since."""
        self._expiries: list[tuple[int, int]] = []
        """A heap of (expires, serial). An entry may be out of date."""
        self._erasable: dict[int, Blank | Erase] = {}
        """By serial number, what must go from disk."""
        self._erasing: tuple[Blank | Erase, ...] = ()

    def __len__(self) -> int:
        """Items, without those that were erased."""
        return self._items

    @property
    def ids(self) -> int:
        """Ids that are known: those of items, and those of what was erased."""
        return len(self._by_serial)

    @property
    def mailboxes(self) -> int:
        """Mailboxes in which anything is known."""
        return len(self._boxes)

    @property
    def used_bytes(self) -> int:
        """The room that the items take, with those that are being written."""
        return (self._items + self._writing) * ITEM_BYTES

    @property
    def most_bytes(self) -> int:
        """The room that there is, 0 for no limit."""
        return self._most_bytes()

    @property
    def waits_to_be_erased(self) -> int:
        """Rows that must go from disk and are still there."""
        return len(self._erasable)

    def has_room(self) -> bool:
        """Whether one item more can be kept."""
        most = self._most_bytes() // ITEM_BYTES
        taken = self._items + self._writing, self.ids + self._writing
        return not self._most_bytes() or (taken[0] < most and taken[1] < most * IDS_PER_ITEM)

    def get(self, mailbox: Mailbox, item_id: bytes, wall: int) -> Held | None:
        """What is known of this id in this mailbox at this time."""
        box = self._boxes.get(mailbox)
        held = None if box is None else box.ids.get(item_id)
        if held is not None and held.expires <= wall:
            self._expire(held)  # a sweep had too much to do
            return None
        return held

    def count(self, mailbox: Mailbox) -> int:
        """Items in this mailbox, with those that are being written."""
        box = self._boxes.get(mailbox)
        return 0 if box is None else len(box.items) + box.writing

    def after(self, mailbox: Mailbox, number: int, most: int, wall: int) -> list[Held]:
        """The first items of this mailbox beyond a number that have not expired."""
        box = self._boxes.get(mailbox)
        if box is None or box.last <= number:
            return []
        alive = (held for held in box.items.values() if held.number > number and wall < held.expires)
        return list(islice(alive, most))

    # Changes. They are on disk already, except those of `erase` and `sweep`.

    def begin(self, mailbox: Mailbox, wall: int) -> tuple[int, int]:
        """A place for a new item, which is written next: its serial number, and its number in the mailbox.
        `add` or `give_up` ends this."""
        self._serial += 1
        self._floor = max(self._floor, wall)
        box = self._box(mailbox)
        box.last = max(box.last + 1, self._floor * NUMBERS_PER_SECOND)
        box.writing += 1
        self._writing += 1
        return self._serial, box.last

    def add(self, held: Held) -> None:
        """The item of the last `begin` with its numbers is on disk."""
        self._boxes[held.mailbox].writing -= 1
        self._writing -= 1
        self._take_up(held)

    def give_up(self, mailbox: Mailbox) -> None:
        """An item of this mailbox could not be written."""
        self._boxes[mailbox].writing -= 1
        self._writing -= 1
        self._drop_if_empty(mailbox)

    def restore(self, rows: Iterable[Held]) -> None:
        """Take up what was on disk at the start, in the order of the numbers."""
        for held in rows:
            self._serial = max(self._serial, held.serial)
            self._floor = max(self._floor, held.number // NUMBERS_PER_SECOND)
            self._take_up(held)

    def change(self, held: Held, expires: int, revision: int, signature: bytes) -> None:
        """A later revision of an item is on disk."""
        held.expires, held.revision, held.signature = expires, revision, signature
        self._expires_at(held)

    def blank(self, held: Held, expires: int, revision: int) -> None:
        """An item was erased; its id is known until it expires. On disk its row is a `Blank` already, or
        `erase` asks for that."""
        if not held.is_erased:
            box = self._boxes[held.mailbox]
            del box.items[held.number]
            self._items -= 1
            held.digest = held.signature = b""
        held.revision = max(held.revision, revision)
        if expires > held.expires:
            held.expires = expires
            self._expires_at(held)

    def erase(self, mailbox: Mailbox, number: int) -> int:
        """Erase the items of this mailbox up to a number; its reader has them. Returns how many it was."""
        box = self._boxes.get(mailbox)
        if box is None:
            return 0
        read = [held for held in box.items.values() if held.number <= number]
        for held in read:
            self.blank(held, held.expires, held.revision)
            self._erasable[held.serial] = Blank(held.serial, held.expires, held.revision)
        return len(read)

    def sweep(self, wall: int) -> int:
        """Forget what has expired at this time (Unix seconds), some at a time. Returns how many items and ids
        that was."""
        swept = 0
        while self._expiries and self._expiries[0][0] <= wall and swept < SWEPT_AT_ONCE:
            _, serial = heapq.heappop(self._expiries)
            held = self._by_serial.get(serial)
            if held is None:
                continue
            if held.expires > wall:  # a later revision gave it more time
                heapq.heappush(self._expiries, (held.expires, serial))
                continue
            self._expire(held)
            swept += 1
        return swept

    @property
    def next_expiry(self) -> int | None:
        """Not later than when the next item or id expires (Unix seconds)."""
        return self._expiries[0][0] if self._expiries else None

    # What must go from disk.

    def next_erasure(self) -> tuple[Blank | Erase, ...]:
        """The rows to erase next, at most `ERASED_AT_ONCE`. None while others are being erased."""
        if self._erasing:
            return ()
        self._erasing = tuple(islice(self._erasable.values(), ERASED_AT_ONCE))
        return self._erasing

    def erased(self, *, done: bool) -> None:
        """The rows of the last `next_erasure` are gone from disk, or not `done`: then they come again."""
        erasing, self._erasing = self._erasing, ()
        if done:
            for row in erasing:
                if self._erasable.get(row.serial) is row:  # it may have expired meanwhile
                    del self._erasable[row.serial]

    def _expire(self, held: Held) -> None:
        self._erasable[held.serial] = Erase(held.serial)
        box = self._boxes[held.mailbox]
        del self._by_serial[held.serial]
        if box.ids.get(held.item_id) is held:
            del box.ids[held.item_id]
        if not held.is_erased:
            del box.items[held.number]
            self._items -= 1
        self._drop_if_empty(held.mailbox)

    def _box(self, mailbox: Mailbox) -> _Box:
        box = self._boxes.get(mailbox)
        if box is None:
            box = self._boxes[mailbox] = _Box(mailbox)
        return box

    def _drop_if_empty(self, mailbox: Mailbox) -> None:
        box = self._boxes[mailbox]
        # An id may be there twice after a disk has failed: it names one item, and both must go in their time.
        if not box.ids and not box.items and not box.writing:
            del self._boxes[mailbox]

    def _take_up(self, held: Held) -> None:
        box = self._box(held.mailbox)
        held.mailbox = box.mailbox  # one object for all items of a mailbox
        box.ids[held.item_id] = held
        box.last = max(box.last, held.number)
        if not held.is_erased:
            box.items[held.number] = held
            self._items += 1
        self._by_serial[held.serial] = held
        self._expires_at(held)

    def _expires_at(self, held: Held) -> None:
        """Note when it expires. Out-of-date entries, which revisions leave, are dropped now and then."""
        heapq.heappush(self._expiries, (held.expires, held.serial))
        if len(self._expiries) > 2 * len(self._by_serial) + _HEAP_SLACK:
            self._expiries = [(held.expires, serial) for serial, held in self._by_serial.items()]
            heapq.heapify(self._expiries)
