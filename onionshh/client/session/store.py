"""Sessions on disk: one row each, with the whole document (SPEC 12, core/session/document.py)."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from onionshh.core.session.document import from_document_untrusted, to_document
from onionshh.core.session.session import Session, SessionId
from onionshh.errors import ProtocolError
from onionshh.net.database import Database

if TYPE_CHECKING:
    from onionshh.client.session.keeper import SessionRow

logger = logging.getLogger("onionshh.client")

SESSION_MIGRATIONS: Final = (
    """
CREATE TABLE IF NOT EXISTS sessions (
    id BLOB PRIMARY KEY, document BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
""",
)


class SessionStore:
    """The sessions of one endpoint or contact."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> list[Session]:
        """All sessions, the one used longest ago first. One that cannot be read is left out: its peer
        introduces itself anew."""

        def read(connection: sqlite3.Connection) -> list[bytes]:
            rows = connection.execute("SELECT document FROM sessions ORDER BY used")
            return [bytes(row[0]) for row in rows]

        sessions = []
        for document in await self._database.read(read):
            try:
                sessions.append(from_document_untrusted(document))
            except ProtocolError as error:
                logger.warning("a session on disk cannot be used (%s), so its peer is a new one", error)
        return sessions

    async def save(self, session: Session) -> None:
        """Sync this session's present state. The keys of before are overwritten. BadData, Closed."""
        rows = self.rows((session,))
        await self._database.transaction(lambda connection: self.write(connection, rows), erases=True)

    def save_soon(self, session: Session) -> None:
        """Write this session's present state with the next transaction, or within a second."""
        rows = self.rows((session,))
        self._database.soon(lambda connection: self.write(connection, rows))

    def forget_soon(self, session_ids: Iterable[SessionId]) -> None:
        """Erase these sessions with the next transaction, or within a second."""
        rows = [(session_id,) for session_id in session_ids]
        self._database.soon(
            lambda connection: connection.executemany("DELETE FROM sessions WHERE id = ?", rows)
        )

    def rows(self, sessions: Iterable[Session]) -> list[SessionRow]:
        """These sessions as they are now. A transaction runs in a thread, while the sessions go on."""
        return [(session.session_id, to_document(session), session.history.used_at) for session in sessions]

    def write(self, connection: sqlite3.Connection, rows: Iterable[SessionRow]) -> None:
        """Write these rows, within a transaction."""
        connection.executemany(
            "INSERT INTO sessions VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET document = excluded.document, used = excluded.used",
            list(rows),
        )
