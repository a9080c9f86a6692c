"""What a meeting remembers of itself: its instance, and whom it answered (SPEC 14)."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Final

from onionshh.net.database import Database

MEETING_MIGRATIONS: Final = (
    """
CREATE TABLE meeting_self (
    one INTEGER PRIMARY KEY CHECK (one = 1), instance BLOB NOT NULL, seed BLOB NOT NULL);
CREATE TABLE meeting_answered (instance BLOB PRIMARY KEY, expires INTEGER NOT NULL) WITHOUT ROWID;
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

    async def answered(self, wall: int) -> set[bytes]:
        """The instances that we answered, and that may still be there at `wall`, Unix seconds."""

        def read(connection: sqlite3.Connection) -> set[bytes]:
            rows = connection.execute("SELECT instance FROM meeting_answered WHERE expires > ?", (wall,))
            return {row[0] for row in rows}

        return await self._database.read(read)

    async def answer(self, instance: bytes, expires: int, wall: int) -> None:
        """We answered this instance. `expires`: when that is forgotten, Unix seconds."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM meeting_answered WHERE expires <= ?", (wall,))
            connection.execute("INSERT OR REPLACE INTO meeting_answered VALUES (?, ?)", (instance, expires))

        await self._database.transaction(write)
