"""What a meeting remembers of itself: its instance, and the sessions that began (SPEC 14)."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Final

from onionshh.net.database import Database

MEETING_MIGRATIONS: Final = (
    """
CREATE TABLE meeting_self (
    one INTEGER PRIMARY KEY CHECK (one = 1), instance BLOB NOT NULL, seed BLOB NOT NULL);
CREATE TABLE meeting_sessions (
    session BLOB PRIMARY KEY, instance BLOB NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID;
""",
)


@dataclass(frozen=True, slots=True)
class Oneself:
    """`instance`: by this the other side knows us again. `seed`: of the keys that our hello offers."""

    instance: bytes
    seed: bytes = field(repr=False)


class MeetingStore:
    """The two tables. Everything raises BadData when the disk fails, and Closed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Oneself | None:
        """Who we were in the last run."""
        row = await self._database.read(
            lambda connection: connection.execute("SELECT instance, seed FROM meeting_self").fetchone()
        )
        return None if row is None else Oneself(*row)

    async def keep(self, oneself: Oneself) -> None:
        """Who we are from now on."""
        row = (oneself.instance, oneself.seed)
        await self._database.transaction(
            lambda connection: connection.execute("INSERT OR REPLACE INTO meeting_self VALUES (1, ?, ?)", row)
        )

    async def began(self, wall: int) -> dict[bytes, tuple[bytes, int]]:
        """The sessions that began: each with the other instance, and until when it is known. `wall`: what is
        over by then is left out. Unix seconds."""

        def read(connection: sqlite3.Connection) -> dict[bytes, tuple[bytes, int]]:
            rows = connection.execute(
                "SELECT session, instance, expires FROM meeting_sessions WHERE expires > ?", (wall,)
            )
            return {session: (instance, expires) for session, instance, expires in rows}

        return await self._database.read(read)

    async def begin(self, session: bytes, instance: bytes, expires: int, wall: int) -> None:
        """This session began, with this other instance. `expires`: when that is forgotten, Unix seconds."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM meeting_sessions WHERE expires <= ?", (wall,))
            connection.execute(
                "INSERT OR REPLACE INTO meeting_sessions VALUES (?, ?, ?)", (session, instance, expires)
            )

        await self._database.transaction(write)
