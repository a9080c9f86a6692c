"""The keys of a named contact's ways back, on disk (SPEC 12). After a restart they are taken up again."""

from __future__ import annotations

import sqlite3
from typing import Final

from onionshh.core.endpoint.introducers import HeldIntroducer
from onionshh.core.session.session import SessionId
from onionshh.crypto.identity import SigningKey
from onionshh.ids import RelayId
from onionshh.net.database import Database

WAY_MIGRATIONS: Final = (
    """
CREATE TABLE IF NOT EXISTS ways (
    auth_seed BLOB PRIMARY KEY, session BLOB NOT NULL, relay BLOB NOT NULL, expiry INTEGER NOT NULL)
    WITHOUT ROWID;
""",
)


class WayStore:
    """All ways of one contact."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, session: SessionId) -> SessionWays:
        """Those of one session."""
        return SessionWays(self._database, session)

    async def holds(self, session: SessionId) -> bool:
        """Whether the session had ways before, and the other side may know them. BadData."""
        return await self._database.read(
            lambda connection: (
                connection.execute("SELECT 1 FROM ways WHERE session = ? LIMIT 1", (session,)).fetchone()
                is not None
            )
        )

    async def forget(self, *, besides: SessionId | None = None) -> None:
        """Erase all ways, except those of one session. BadData."""
        await self._database.transaction(
            lambda connection: connection.execute("DELETE FROM ways WHERE session IS NOT ?", (besides,)),
            erases=True,
        )


class SessionWays:
    """The ways of one session, as `IntroducerStore` explains."""

    def __init__(self, database: Database, session: SessionId) -> None:
        self._database = database
        self._session = session

    async def introducers(self, wall: int) -> list[HeldIntroducer]:
        """Those whose time is not over. The others are erased soon. A full disk can be read too."""

        def read(connection: sqlite3.Connection) -> list[HeldIntroducer]:
            rows = connection.execute(
                "SELECT relay, auth_seed, expiry FROM ways WHERE session = ? AND expiry > ? ORDER BY expiry",
                (self._session, wall),
            )
            return [HeldIntroducer(RelayId(relay), SigningKey(seed), expiry) for relay, seed, expiry in rows]

        held = await self._database.read(read)
        self._database.soon(
            lambda connection: connection.execute("DELETE FROM ways WHERE expiry <= ?", (wall,))
        )
        return held

    async def keep_introducer(self, held: HeldIntroducer) -> None:
        """Sync one, before a relay hears of it."""
        row = (held.key.seed, self._session, held.relay, held.expiry)
        await self._database.transaction(
            lambda connection: connection.execute("INSERT OR REPLACE INTO ways VALUES (?, ?, ?, ?)", row)
        )

    async def drop_introducer(self, held: HeldIntroducer) -> None:
        """It is not ours any more."""
        await self._database.transaction(
            lambda connection: connection.execute("DELETE FROM ways WHERE auth_seed = ?", (held.key.seed,)),
            erases=True,
        )
