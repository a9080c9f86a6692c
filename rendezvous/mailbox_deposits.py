"""What a relay does with a PUT: takes an item, changes it, erases it, or says why not (SPEC 14, 15).

Cheap checks come before dear ones: dates, room, price and proof of work, then the signature. The first valid
value of an id stays. A later revision with the same value changes when the item expires, and a later
revision without a value erases it. A depositor whose answer was lost sends the same again, and gets the same
answer.

Nothing is answered `stored` before it is on disk, and nothing that was answered `stored` is thrown out to
make room. Where room is scarce the price rises instead (core/mailbox/price.py).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from onionshh.core.mailbox.item import (
    GRACE_SECONDS,
    TTL_MOST_SECONDS,
    check_put_untrusted,
    expires_fits,
    value_hash,
)
from onionshh.core.mailbox.price import ITEMS_MOST, extension_price, price
from onionshh.core.mailbox.work import holds_untrusted, put_task
from onionshh.core.roles import CircuitHandle, Drop, Effect, Remember, RememberingRole, Reply, RoleAction
from onionshh.reasons import Reason
from onionshh.rendezvous.mailbox_index import Index
from onionshh.rendezvous.mailbox_rows import Blank, Change, Held, Keep, Row
from onionshh.wire import mailbox as w
from onionshh.wire import messages as m

WRITING_MOST: Final = 192
"""Rows that are being written. This leaves room in the relay's queue for its other roles."""

STATUS_DROPS: Final = {
    w.STALE: Reason.MAILBOX_STALE,
    w.REFUSED: Reason.MAILBOX_REFUSED,
    w.FULL: Reason.MAILBOX_FULL,
    w.DEAR: Reason.MAILBOX_DEAR,
}


class _Means(Enum):
    """What a PUT means beside what is known of its id."""

    NEW = auto()
    AGAIN = auto()
    """What is so already."""
    CHANGE = auto()
    ERASE = auto()
    STALE = auto()


@dataclass(slots=True)
class _Writing:
    """A row that is being written, and the circuits that wait for the answer."""

    row: Row
    put: w.Put
    digest: bytes = field(repr=False)
    circuits: list[CircuitHandle]


class Deposits:
    """The PUTs of one relay. `role`: to which the store's answers go."""

    def __init__(self, role: RememberingRole, index: Index) -> None:
        self._role = role
        self._index = index
        self._writing: dict[Hashable, _Writing] = {}
        """By the serial number of the item. An item has one row under way at a time."""
        self._by_id: dict[tuple[w.Mailbox, bytes], int] = {}
        """The serial numbers of these items, by mailbox and id."""

    def __len__(self) -> int:
        """Rows that are being written."""
        return len(self._writing)

    def put(
        self, circuit: CircuitHandle, put: w.Put, shared_random: bytes, wall: int
    ) -> tuple[RoleAction, ...]:
        """A PUT for a mailbox that this relay serves. `shared_random`: that of its period. `wall`: Unix
        seconds. Raises ProtocolError."""
        if not _dates_fit(put, wall):
            return kept(circuit, w.REFUSED, why=Reason.MAILBOX_DATE)
        digest = value_hash(put.value) if put.value else b""
        serial = self._by_id.get((put.mailbox, put.item_id))
        if serial is not None:
            return self._meanwhile(circuit, put, digest, self._writing[serial])
        held = self._index.get(put.mailbox, put.item_id, wall)
        means = _meaning(put, digest, held)
        if means is _Means.NEW and not self._has_room(put.mailbox):
            return kept(circuit, w.FULL)
        if len(self._writing) >= WRITING_MOST:
            return kept(circuit, w.FULL, why=Reason.REMEMBER_FULL)
        wanted = self._price(means, put, held, wall)
        if wanted and not _pays(put, wanted, shared_random):
            return kept(circuit, w.DEAR, wanted)
        check_put_untrusted(put)
        if means is _Means.AGAIN:
            return kept(circuit, w.STORED)
        if means is _Means.STALE:
            return kept(circuit, w.STALE)
        row = self._row(means, put, digest, held, wall)
        serial = row.item.serial if isinstance(row, Keep) else row.serial
        self._writing[serial] = _Writing(row, put, digest, [circuit])
        self._by_id[put.mailbox, put.item_id] = serial
        return (Remember(self._role, serial, (row,)),)

    def written(self, serial: Hashable, wall: int) -> tuple[tuple[Effect, ...], w.Mailbox | None]:
        """The row is on disk. Returns the answers, and the mailbox in which there is something new."""
        writing = self._end(serial)
        put, row = writing.put, writing.row
        held = self._index.get(put.mailbox, put.item_id, wall)
        match row:
            case Keep(item=item):
                self._index.add(item)
                return _answers(writing, w.STORED), put.mailbox
            case Change() if held is not None and not held.is_erased:
                self._index.change(held, row.expires, row.revision, row.signature)
            case Change():
                return _answers(writing, w.STALE), None  # it was read or has expired meanwhile
            case Blank() if held is not None:
                self._index.blank(held, row.expires, row.revision)
        return _answers(writing, w.STORED), None

    def not_written(self, serial: Hashable) -> tuple[Effect, ...]:
        """The row is not on disk, so nothing has changed."""
        writing = self._end(serial)
        if isinstance(writing.row, Keep):
            self._index.give_up(writing.put.mailbox)
        return (*_answers(writing, w.FULL), Drop(Reason.MAILBOX_FULL))

    def circuit_closed(self, circuit: CircuitHandle) -> None:
        """Nobody waits on this circuit any more. What it brought is written all the same."""
        for writing in self._writing.values():
            writing.circuits = [other for other in writing.circuits if other is not circuit]

    def price_of(self, kind: int, seconds: int, in_mailbox: int = 0) -> int:
        """What an item costs now that stays for so long in a mailbox of so many items."""
        used, most = self._room()
        return price(kind, seconds, 0, relay_used=used, relay_most=most, mailbox_used=in_mailbox)

    def _end(self, serial: Hashable) -> _Writing:
        writing = self._writing.pop(serial)
        del self._by_id[writing.put.mailbox, writing.put.item_id]
        return writing

    def _meanwhile(
        self, circuit: CircuitHandle, put: w.Put, digest: bytes, writing: _Writing
    ) -> tuple[RoleAction, ...]:
        """A PUT for an item of which a row is being written."""
        check_put_untrusted(put)
        if (put.revision, digest) == (writing.put.revision, writing.digest):
            if circuit not in writing.circuits:
                writing.circuits.append(circuit)
            return ()
        return kept(circuit, w.FULL)  # the depositor did not wait for its answer, and may try again

    def _has_room(self, mailbox: w.Mailbox) -> bool:
        return self._index.has_room() and self._index.count(mailbox) < ITEMS_MOST[mailbox.kind]

    def _room(self) -> tuple[int, int]:
        """Bytes in use, and bytes that there are. Without a limit, none is scarce."""
        most = self._index.most_bytes
        return (self._index.used_bytes, most) if most else (0, 1)

    def _price(self, means: _Means, put: w.Put, held: Held | None, wall: int) -> int:
        kind, (used, most) = put.mailbox.kind, self._room()
        count = self._index.count(put.mailbox)
        if means is _Means.NEW:
            return price(kind, put.expires, wall, relay_used=used, relay_most=most, mailbox_used=count)
        if means is _Means.CHANGE and held is not None:
            return extension_price(
                kind, put.expires, held.expires, relay_used=used, relay_most=most, mailbox_used=count
            )
        return 0

    def _row(self, means: _Means, put: w.Put, digest: bytes, held: Held | None, wall: int) -> Row:
        if held is None:
            serial, number = self._index.begin(put.mailbox, wall)
            item = Held(
                serial, put.mailbox, put.item_id, number, put.expires, put.revision, put.signature, digest
            )
            return Keep(item, put.value)
        if means is _Means.CHANGE:
            return Change(held.serial, put.expires, put.revision, put.signature)
        return Blank(held.serial, held.expires, put.revision)  # nobody has paid for longer


def _dates_fit(put: w.Put, wall: int) -> bool:
    """Whether the item may end then. What recalls an item may come until its last second."""
    if put.value:
        return expires_fits(put.expires, wall)
    return put.expires <= wall + TTL_MOST_SECONDS + GRACE_SECONDS


def _meaning(put: w.Put, digest: bytes, held: Held | None) -> _Means:
    if not digest:
        if held is None or (held.is_erased and put.revision <= held.revision):
            return _Means.AGAIN  # there is nothing to erase
        # What was erased without a recall was read: its depositor may know.
        return _Means.ERASE if put.revision > held.revision and not held.is_erased else _Means.STALE
    if held is None:
        return _Means.NEW
    if held.digest != digest or put.revision < held.revision:
        return _Means.STALE
    return _Means.AGAIN if put.revision == held.revision else _Means.CHANGE


def _pays(put: w.Put, wanted: int, shared_random: bytes) -> bool:
    if put.effort < wanted:
        return False
    task = put_task(shared_random, put.mailbox, put.item_id, put.expires, put.value)
    return holds_untrusted(task, put.nonce, put.effort)


def kept(
    circuit: CircuitHandle, status: int, effort: int = 0, *, why: Reason | None = None
) -> tuple[Effect, ...]:
    """The answer to one PUT, and what is counted."""
    answer = Reply(circuit, m.KEPT, w.Kept(status, effort).encode())
    if status == w.STORED:
        return (answer,)
    return (answer, Drop(why or STATUS_DROPS[status]))


def _answers(writing: _Writing, status: int) -> tuple[Effect, ...]:
    body = w.Kept(status).encode()
    return tuple(Reply(circuit, m.KEPT, body) for circuit in writing.circuits)
