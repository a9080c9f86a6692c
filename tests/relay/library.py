"""A role that lends books which lie on disk only: a READ names one, and is answered by what is in it."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping, Sequence

from onionshh.core.roles import CircuitHandle, Drop, Effect, EndCircuit, Look, Reply, RoleAction
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from simulations.world import ANSWER

LEND = m.LIST
COPY = m.PUT


class Books:
    """The store: a book for each number, and nothing for others. While it `fails`, none can be read."""

    def __init__(self) -> None:
        self.fails = False
        self.reads: list[list[int]] = []
        self.threads: set[int] = set()

    def commit(self, rows: Sequence[object]) -> None:
        raise OSError("books are not written here")

    def read(self, keys: Sequence[int]) -> list[bytes | None]:
        self.threads.add(threading.get_ident())
        self.reads.append(list(keys))
        if self.fails:
            raise OSError("Input/output error")
        return [book(number) if number else None for number in keys]


def book(number: int) -> bytes:
    return b"book %d" % number


class Library:
    """The role. LEND has the numbers of books, a byte each. COPY is costly, and answered by itself."""

    accepts = frozenset((LEND, COPY))
    costly = frozenset((COPY,))

    def __init__(self) -> None:
        self.store = Books()
        self.is_due_soon = False
        self.ticks: list[float] = []
        self.closed = 0
        self._lent: dict[Hashable, CircuitHandle] = {}
        self._numbered = 0

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        self._numbered += 1
        if message_type == COPY:
            if not body:
                raise ProtocolError(Reason.MESSAGE_SIZE)
            return (Reply(circuit, ANSWER, body),)
        self._lent[self._numbered] = circuit
        return (Drop(Reason.PUBLISH_STALE), Look(self, self._numbered, list(body)))

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return ()

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return ()

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        self.ticks.append(now)
        return ()

    def remembered(self, token: Hashable, now: float, wall: int) -> tuple[RoleAction, ...]:
        raise AssertionError(token)

    def not_remembered(self, token: Hashable, now: float, wall: int) -> tuple[Effect, ...]:
        raise AssertionError(token)

    def looked(
        self, token: Hashable, found: Sequence[bytes | None], now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        return (Reply(self._lent.pop(token), ANSWER, b", ".join(one or b"none" for one in found)),)

    def not_looked(self, token: Hashable, now: float, wall: int) -> tuple[Effect, ...]:
        return (EndCircuit(self._lent.pop(token), Reason.NOT_KEPT),)

    def statistics(self) -> Mapping[str, int]:
        return {"books_lent": self._numbered}

    def ended(self) -> None:
        self.closed += 1
