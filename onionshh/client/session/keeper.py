"""Keeps the sessions of one endpoint or contact: in a table by tag, and on disk (SPEC 12).

The order of writes is that of SPEC 12. A step is spent, and synced, before its RESUME leaves. A tag is
burned, and synced, before anything is done about its RESUME. The first row of an endpoint's session is
written in the transaction of the first whisper or part on its exchange.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from onionshh.client.context import Context
from onionshh.core.delivery.actions import Finish, Keep
from onionshh.core.delivery.transfer_actions import KeepPart, TransferRow
from onionshh.core.session.resumption import SpentStep
from onionshh.core.session.session import Session, SessionId, Spent
from onionshh.core.session.table import SESSIONS_MOST, Accepted, SessionTable
from onionshh.errors import BadData
from onionshh.geometry import RESUME_SALT
from onionshh.reasons import Reason
from onionshh.wire.messages import Resume

if TYPE_CHECKING:  # a contact without a name needs no database
    import sqlite3

    from onionshh.client.hosting.whisper_store import Row

UNWRITTEN_MOST = 1024
"""Sessions of exchanges on which no whisper was kept so far. The oldest is forgotten: its visitor introduces
itself anew."""
OVER_MOST = 64
"""Sessions that are over while something may still save them."""
USED_SECONDS = 3600

SessionRow = tuple[SessionId, bytes, int]
"""Id, document, and when it was used."""


class Store(Protocol):
    """Where sessions are kept: on disk (`store.py`), or in memory alone."""

    async def load(self) -> list[Session]: ...
    async def save(self, session: Session) -> None: ...
    def save_soon(self, session: Session) -> None: ...
    def forget_soon(self, session_ids: Iterable[SessionId]) -> None: ...
    def rows(self, sessions: Iterable[Session]) -> list[SessionRow]: ...
    def write(self, connection: sqlite3.Connection, rows: Iterable[SessionRow]) -> None: ...


class SessionsInMemory:
    """For a contact without a name: its sessions end with it."""

    async def load(self) -> list[Session]:
        """None."""
        return []

    async def save(self, session: Session) -> None:
        """Nothing to do: the table has it."""

    def save_soon(self, session: Session) -> None:
        """Nothing to do."""

    def forget_soon(self, session_ids: Iterable[SessionId]) -> None:
        """Nothing to do."""

    def rows(self, sessions: Iterable[Session]) -> list[SessionRow]:
        """None."""
        return []

    def write(self, connection: sqlite3.Connection, rows: Iterable[SessionRow]) -> None:
        """Nothing to do."""


class SessionKeeper:
    """`load` it once before use. `most`: how many sessions it keeps."""

    def __init__(self, context: Context, store: Store, most: int = SESSIONS_MOST) -> None:
        self._context = context
        self._store = store
        self._unwritten: dict[SessionId, Session] = {}
        self._over: dict[SessionId, None] = {}
        """Sessions that were forgotten while something may still save them. Oldest first."""
        self.table = SessionTable(most)

    def __len__(self) -> int:
        return len(self.table)

    def displace(self) -> None:
        """One session must go, because the node has too many."""
        gone = self.table.displace()
        if gone is not None:
            self._context.drops.count(Reason.SESSION_DISPLACED)
            self.forget(gone)

    async def load(self) -> None:
        """Take up what is on disk. BadData."""
        for session in await self._store.load():
            gone = self.table.add(session)
            if gone is not None:
                self._store.forget_soon([gone.session_id])
        self.tidy()

    def tidy(self) -> None:
        """Forget the sessions that were idle too long."""
        for session in self.table.expired(self._context.clock.earliest()):
            self.forget(session)

    def used(self, session: Session) -> None:
        """An exchange of this session is open now, so it is not idle. Noted once an hour."""
        earliest = self._context.clock.earliest()
        if earliest >= session.history.used_at + USED_SECONDS and self.get(session.session_id) is session:
            session.history.used_at = earliest
            self._store.save_soon(session)

    def get(self, session_id: bytes | None) -> Session | None:
        """The session with this id, if it is on disk."""
        return None if session_id is None else self.table.get(SessionId(session_id))

    async def save(self, session: Session) -> None:
        """Sync this session, and use it from then on. BadData, also if the session is over; Closed."""
        if session.session_id in self._over:
            raise BadData("this session is over")
        view = self._context.keeper.view  # a circuit may live on when it has expired
        if view is not None:
            session.mail.keep_from(view.period)
        session.history.used_at = max(session.history.used_at, self._context.clock.earliest())
        await self._store.save(session)
        if session.session_id in self._over:
            self._store.forget_soon([session.session_id])
            raise BadData("this session is over")
        self._unwritten.pop(session.session_id, None)
        if self.table.get(session.session_id) is None:
            self._add(session)

    def find(self, session_id: bytes | None) -> Session | None:
        """The session with this id, on disk or not yet."""
        if session_id is None:
            return None
        key = SessionId(session_id)
        return self.table.get(key) or self._unwritten.get(key)

    def is_over(self, session_id: SessionId) -> bool:
        """Whether this session was forgotten a short while ago."""
        return session_id in self._over

    def forget(self, session: Session) -> None:
        """This session is over. It is erased with the next transaction, or within a second."""
        self._over[session.session_id] = None
        while len(self._over) > OVER_MOST:
            del self._over[next(iter(self._over))]
        self._unwritten.pop(session.session_id, None)
        self.table.remove(session.session_id)
        self._store.forget_soon([session.session_id])

    def save_soon(self, session: Session) -> None:
        """Write this session in the next transaction, and use it from then on."""
        self._store.save_soon(session)
        if self.table.get(session.session_id) is None:
            self._unwritten.pop(session.session_id, None)
            self._add(session)

    # The first row.

    def begun(self, session: Session) -> None:
        """The session of a new exchange. It is written with the first whisper on it."""
        session.history.used_at = self._context.clock.earliest()
        self._unwritten[session.session_id] = session
        while len(self._unwritten) > UNWRITTEN_MOST:
            del self._unwritten[next(iter(self._unwritten))]

    def unwritten(self, rows: Iterable[Row | TransferRow]) -> FirstRows:
        """The sessions whose first row must be written together with these rows. With its first reply, a
        session is written again, because then it stays longer."""
        found: dict[SessionId, Session] = {}
        for row in rows:
            session = self.find(_session_of(row))
            if session is None:
                continue
            replied = isinstance(row, Finish) and row.reply is not None and not session.marks.answered
            if replied or session.session_id in self._unwritten:
                session.marks.answered = session.marks.answered or replied
                found[session.session_id] = session
        first = list(found.values())
        return FirstRows(self, self._store, first, self._store.rows(first))

    def first_written(self, sessions: Iterable[Session]) -> None:
        """The first rows of these sessions are on disk."""
        for session in sessions:
            if self._unwritten.pop(session.session_id, None) is not None:
                self._add(session)

    def _add(self, session: Session) -> None:
        gone = self.table.add(session)
        if gone is not None:
            self._context.drops.count(Reason.SESSION_DISPLACED)
            self.forget(gone)
        self._context.shared.make_room()

    # Steps.

    async def spend(self, session: Session) -> tuple[Spent, SpentStep]:
        """The next step of a session, synced: a RESUME may leave. BadData, Closed."""
        spent = session.spend()
        await self.save(session)
        return spent, SpentStep(spent.step, self._context.chance.bytes(RESUME_SALT))

    def answered(self, session: Session, spent: Spent) -> None:
        """The other side has answered to this step. That is written with the next transaction. After a crash
        before it, the step counts as one that is still out, which costs nothing but an introduction once
        there are too many."""
        session.answered(spent)
        if self.table.get(session.session_id) is session:
            self._store.save_soon(session)

    async def accept(self, message: Resume) -> Accepted | None:
        """As `SessionTable.accept_untrusted`, with the burned tag synced. BadData, Closed: then nothing may
        be done about it."""
        accepted = self.table.accept_untrusted(message)
        if accepted is not None:
            accepted.session.history.exchanges += 1
            accepted.session.history.resumed += 1
            await self.save(accepted.session)
        return accepted


@dataclass(frozen=True, slots=True)
class FirstRows:
    """Sessions that are written for the first time, together with other rows."""

    keeper: SessionKeeper
    store: Store
    sessions: list[Session]
    rows: list[SessionRow] = field(repr=False)

    def write(self, connection: sqlite3.Connection) -> None:
        """Write them, within a transaction."""
        self.store.write(connection, self.rows)

    def written(self) -> None:
        """The transaction is on disk."""
        self.keeper.first_written(self.sessions)


def _session_of(row: Row | TransferRow) -> bytes | None:
    if isinstance(row, Keep):
        return row.whisper.session
    return row.session if isinstance(row, Finish | KeepPart) else None
