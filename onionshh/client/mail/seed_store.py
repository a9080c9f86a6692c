"""The seed by which the letters of a period begin a session, until the endpoint has answered (SPEC 14).

All letters of one contact belong to one session. A contact with a name may be closed between two of them,
and opened for each. So it keeps the seed: otherwise each run would be another peer to the endpoint, and each
would have a mailbox of its own to be read.

Whoever has the seed can read what the endpoint answers in that session. So it is erased once the endpoint has
shown that it has the session: from then on letters go on with the session itself.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Final, Protocol

from onionshh.net.database import Database

SEED_MIGRATIONS: Final = (
    """
CREATE TABLE letter_seed (
    one INTEGER PRIMARY KEY CHECK (one = 1), period INTEGER NOT NULL, seed BLOB NOT NULL);
""",
)


@dataclass(frozen=True, slots=True)
class PeriodSeed:
    """The seed for letters of this period."""

    period: int
    seed: bytes = field(repr=False)


class Seeds(Protocol):
    """Where the seed is kept. There is one at a time."""

    async def load(self) -> PeriodSeed | None:
        """What is kept. BadData, Closed."""

    async def keep(self, found: PeriodSeed) -> None:
        """Keep this one, in place of the one before. BadData, Closed."""

    def forget(self) -> None:
        """Erase it, within a second."""


class SeedsInMemory:
    """For a contact that leaves nothing on disk."""

    def __init__(self) -> None:
        self._found: PeriodSeed | None = None

    async def load(self) -> PeriodSeed | None:
        """As `Seeds.load`."""
        return self._found

    async def keep(self, found: PeriodSeed) -> None:
        """As `Seeds.keep`."""
        self._found = found

    def forget(self) -> None:
        """As `Seeds.forget`."""
        self._found = None


class SeedStore:
    """`Seeds` in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> PeriodSeed | None:
        """As `Seeds.load`."""
        row = await self._database.read(
            lambda connection: connection.execute("SELECT period, seed FROM letter_seed").fetchone()
        )
        return None if row is None else PeriodSeed(*row)

    async def keep(self, found: PeriodSeed) -> None:
        """As `Seeds.keep`."""
        row = (found.period, found.seed)
        await self._database.transaction(
            lambda connection: connection.execute("INSERT OR REPLACE INTO letter_seed VALUES (1, ?, ?)", row),
            erases=True,
        )

    def forget(self) -> None:
        """As `Seeds.forget`."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM letter_seed")

        self._database.soon(write)
