"""A role that keeps what it is told on disk, and says so only once it is there; later it reads all out.

ASK carries a note, which is answered by the same bytes. READ asks for all of them, in the order in which they
were kept: some at a time, and more whenever the circuit has room again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Hashable, Sequence
from pathlib import Path

from onionshh.core.roles import CircuitHandle, Drop, Effect, EndCircuit, Remember, Reply, RoleAction
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from simulations.world import ANSWER, ASK

READ = m.FETCH
AT_ONCE = 4
"""Notes that are queued for a reader at a time."""


class NotesFile:
    """The store: a SQLite file with a row for each note. `refuses`: words that cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.full = False
        self.refuses = b""
        self.commits: list[list[bytes]] = []
        self.threads: set[int] = set()
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE notes (number INTEGER PRIMARY KEY, note BLOB NOT NULL)")

    def commit(self, rows: Sequence[object]) -> None:
        self.threads.add(threading.get_ident())
        if self.full:
            raise OSError("No space left on device")
        database = sqlite3.connect(self.path)
        try:
            with database:  # committed at its end, or undone
                database.execute("PRAGMA synchronous = FULL")
                for row in rows:
                    if row == self.refuses:
                        raise OSError("this one cannot be kept")
                    database.execute("INSERT INTO notes (note) VALUES (?)", (row,))
        finally:
            database.close()
        self.commits.append([row for row in rows if isinstance(row, bytes)])

    @property
    def on_disk(self) -> list[bytes]:
        """What any other program that opens the file would find."""
        database = sqlite3.connect(self.path)
        try:
            return [note for (note,) in database.execute("SELECT note FROM notes ORDER BY number")]
        finally:
            database.close()


class Notes:
    """The role. What is not on disk is not read out."""

    accepts = frozenset((ASK, READ))

    def __init__(self, store: NotesFile) -> None:
        self.store = store
        self.kept: list[bytes] = []
        self._pending: dict[Hashable, tuple[CircuitHandle | None, bytes]] = {}
        self._read: dict[CircuitHandle, int] = {}
        self._numbered = 0
        self.retries: list[bytes] = []
        """Notes that could not be kept: each is tried once more at the next tick, and nobody is told."""

    @property
    def pending(self) -> int:
        """Notes that are not on disk yet."""
        return len(self._pending)

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        if message_type == READ:
            self._read[circuit] = 0
            return self._more(circuit)
        return (self._remember(circuit, body),)

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return self._more(circuit)

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        self._read.pop(circuit, None)
        for token, (teller, note) in self._pending.items():
            if teller is circuit:
                self._pending[token] = (None, note)
        return ()

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        return (self._remember(None, self.retries.pop()),) if self.retries else ()

    def remembered(self, token: Hashable, now: float, wall: int) -> tuple[RoleAction, ...]:
        circuit, note = self._pending.pop(token)
        self.kept.append(note)
        return (
            (Reply(circuit, ANSWER, note),)
            if circuit is not None
            else (Drop(Reason.RENDEZVOUS_UNKNOWN_COOKIE),)
        )

    def not_remembered(self, token: Hashable, now: float, wall: int) -> tuple[Effect, ...]:
        circuit, note = self._pending.pop(token)
        self.retries.append(note)
        return (EndCircuit(circuit, Reason.NOT_KEPT),) if circuit is not None else ()

    def _remember(self, circuit: CircuitHandle | None, note: bytes) -> Remember:
        self._numbered += 1
        self._pending[self._numbered] = (circuit, note)
        return Remember(self, self._numbered, (note,))

    def _more(self, circuit: CircuitHandle) -> tuple[RoleAction, ...]:
        at = self._read.pop(circuit, len(self.kept))
        some = self.kept[at : at + AT_ONCE]
        if some:
            self._read[circuit] = at + AT_ONCE
        return tuple(Reply(circuit, ANSWER, note) for note in some)
