"""How a relay answers LIST: what lies in a mailbox beyond a number, now or when something comes (SPEC 14).

Heads come from memory. Values are read from disk in a thread, three at a time. Meanwhile an item may expire
or be recalled, so each is looked at again before it is sent. A reader that wants to wait gets its answer when
an item has come, or when its time is over. A circuit has one LIST under way, so its answers come in order.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final

from onionshh.core.roles import CircuitHandle, Drop, Effect, Look, LookingRole, Reply, RoleAction
from onionshh.errors import ProtocolError
from onionshh.geometry import MAILBOX_PAGE_HEADS, MAILBOX_PAGE_VALUES
from onionshh.reasons import Reason
from onionshh.rendezvous.mailbox_index import Index
from onionshh.rendezvous.mailbox_rows import Held
from onionshh.wire import mailbox as w
from onionshh.wire import messages as m

WAITS_MOST: Final = 1024
MAILBOX_WAITS_MOST: Final = 64


@dataclass(frozen=True, slots=True)
class _Wait:
    """A reader that waits for an item. `until`: monotonic seconds."""

    wanted: w.List
    until: float


@dataclass(frozen=True, slots=True)
class _Reading:
    """Values that are being read. `circuit` is None when it has ended."""

    circuit: CircuitHandle | None
    wanted: w.List
    page: tuple[Held, ...]


class Lists:
    """The LISTs of one relay. `role`: to which goes what the store has found."""

    def __init__(self, role: LookingRole, index: Index) -> None:
        self._role = role
        self._index = index
        self._waits: dict[CircuitHandle, _Wait] = {}
        self._by_mailbox: dict[w.Mailbox, dict[CircuitHandle, None]] = {}
        self._readings: dict[Hashable, _Reading] = {}
        self._read = 0

    @property
    def waiting(self) -> int:
        """Readers that wait for an item."""
        return len(self._waits)

    @property
    def reading(self) -> int:
        """Answers for which values are being read."""
        return len(self._readings)

    def ask(self, circuit: CircuitHandle, wanted: w.List, now: float, wall: int) -> tuple[RoleAction, ...]:
        """A LIST whose signature holds, for a mailbox that this relay serves. Raises ProtocolError."""
        if circuit in self._waits or any(one.circuit is circuit for one in self._readings.values()):
            raise ProtocolError(Reason.MAILBOX_TOO_MANY)
        if wanted.wait and not self._index.after(wanted.mailbox, wanted.after, 1, wall):
            others = self._by_mailbox.get(wanted.mailbox, {})
            if len(self._waits) < WAITS_MOST and len(others) < MAILBOX_WAITS_MOST:
                self._waits[circuit] = _Wait(wanted, now + wanted.wait)
                self._by_mailbox.setdefault(wanted.mailbox, others)[circuit] = None
                return ()
            return (*self._answer(circuit, wanted, wall), Drop(Reason.MAILBOX_WAITS_FULL))
        return self._answer(circuit, wanted, wall)

    def came(self, mailbox: w.Mailbox, wall: int) -> tuple[RoleAction, ...]:
        """There is a new item: all who wait for it get their answers."""
        answers: list[RoleAction] = []
        for circuit in tuple(self._by_mailbox.get(mailbox, ())):
            answers += self._answer(circuit, self._end_wait(circuit).wanted, wall)
        return tuple(answers)

    def looked(self, token: Hashable, found: Sequence[bytes | None] | None, wall: int) -> tuple[Effect, ...]:
        """Values were read, or could not be (None): then the reader is told that this relay is full."""
        reading = self._readings.pop(token)
        if reading.circuit is None:
            return ()
        if found is None:
            return (items(reading.circuit, w.Items(w.FULL, reading.wanted.after)),)
        alive = tuple(
            w.Item(held.item_id, held.expires, held.revision, held.signature, value)
            for held, value in zip(reading.page, found, strict=True)
            if value is not None and not held.is_erased and wall < held.expires
        )
        return (items(reading.circuit, w.Items(w.STORED, reading.page[-1].number, items=alive)),)

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        """Answer those whose time is over."""
        over = [circuit for circuit, wait in self._waits.items() if now >= wait.until]
        answers: list[RoleAction] = []
        for circuit in over:
            answers += self._answer(circuit, self._end_wait(circuit).wanted, wall)
        return tuple(answers)

    def circuit_closed(self, circuit: CircuitHandle) -> None:
        """Nobody waits on this circuit any more."""
        if circuit in self._waits:
            self._end_wait(circuit)
        for token, reading in self._readings.items():
            if reading.circuit is circuit:
                self._readings[token] = _Reading(None, reading.wanted, reading.page)

    def _end_wait(self, circuit: CircuitHandle) -> _Wait:
        wait = self._waits.pop(circuit)
        others = self._by_mailbox[wait.wanted.mailbox]
        del others[circuit]
        if not others:
            del self._by_mailbox[wait.wanted.mailbox]
        return wait

    def _answer(self, circuit: CircuitHandle, wanted: w.List, wall: int) -> tuple[RoleAction, ...]:
        most = MAILBOX_PAGE_HEADS if wanted.mode == w.HEADS else MAILBOX_PAGE_VALUES
        page = self._index.after(wanted.mailbox, wanted.after, most, wall)
        if not page:
            return (items(circuit, w.Items(w.STORED, wanted.after)),)
        if wanted.mode == w.HEADS:
            heads = tuple(w.Head(held.item_id, held.number, held.expires) for held in page)
            return (items(circuit, w.Items(w.STORED, page[-1].number, heads=heads)),)
        self._read += 1
        self._readings[self._read] = _Reading(circuit, wanted, tuple(page))
        return (Look(self._role, self._read, [held.serial for held in page]),)


def items(circuit: CircuitHandle, answer: w.Items) -> Reply:
    """The answer to one LIST."""
    return Reply(circuit, m.ITEMS, answer.encode())
