"""Whispers an endpoint has acknowledged, until the program has finished with them (SPEC 13).

Id and body go to disk in one transaction before the receipt leaves; the program reads from that table, and
a row is overwritten and gone once it is finished. Ids outlive the rows, so that each whisper is delivered
once, and so do replies, until the visitor has acknowledged them or they expire.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, Literal

from onionshh.core.whisper import EXPIRY_GRACE_SECONDS, SEEN_EXTRA_SECONDS, Record
from onionshh.ids import WhisperId
from onionshh.net.database import Database

WHISPERS_MOST: Final = 1024
BYTES_MOST: Final = 16 * 1024 * 1024
SEEN_MOST: Final = 1_000_000
"""Ids remembered: with that many nothing more is accepted until the oldest expire."""
REPLIES_MOST: Final = 1024
"""Replies kept for visitors that have not come back: beyond it the one that expires first goes."""

INBOX_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS inbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, body BLOB NOT NULL,
    received_at REAL NOT NULL, expires INTEGER NOT NULL, class INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS seen (id BLOB PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_until ON seen (until);
CREATE TABLE IF NOT EXISTS replies (
    id BLOB PRIMARY KEY, whisper BLOB NOT NULL UNIQUE, record BLOB NOT NULL, expires INTEGER NOT NULL)
    WITHOUT ROWID;
"""

Accepted = Literal["new", "known", "full"]


@dataclass(frozen=True, slots=True)
class Stored:
    """One unfinished whisper. `received_at`: Unix seconds."""

    whisper_id: WhisperId
    body: bytes = field(repr=False)
    received_at: float
    expires: int
    privacy_class: int


class Inbox:
    """`load` it once before use."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._count = 0
        self._bytes = 0
        self._seen = 0

    async def load(self, wall: int) -> None:
        """Count what is there and forget what is past its time."""

        def read(connection: sqlite3.Connection) -> tuple[int, int]:
            row: tuple[int, int] = connection.execute(
                "SELECT COUNT(*), COALESCE(SUM(LENGTH(body)), 0) FROM inbox"
            ).fetchone()
            return row

        await self.tidy(wall)
        self._count, self._bytes = await self._database.transaction(read)

    async def accept(self, record: Record, received_at: float) -> Accepted:
        """Keep a whisper, synced when this returns. `full`: it must not be acknowledged."""
        until = record.expires + EXPIRY_GRACE_SECONDS + SEEN_EXTRA_SECONDS
        counted = 0

        def write(connection: sqlite3.Connection) -> Accepted:
            if connection.execute("SELECT 1 FROM seen WHERE id = ?", (record.whisper_id,)).fetchone():
                return "known"
            if (
                self._count >= WHISPERS_MOST
                or self._bytes + len(record.body) > BYTES_MOST
                or self._seen >= SEEN_MOST
            ):
                return "full"
            connection.execute("INSERT INTO seen VALUES (?, ?)", (record.whisper_id, until))
            connection.execute(
                "INSERT INTO inbox (id, body, received_at, expires, class) VALUES (?, ?, ?, ?, ?)",
                (record.whisper_id, record.body, received_at, record.expires, record.privacy_class),
            )
            # Counted here: others of the same batch are judged before any of them has returned.
            nonlocal counted
            counted = 1
            self._grow(1, len(record.body))
            return "new"

        try:
            return await self._database.transaction(write)
        except BaseException:
            if counted:
                self._grow(-1, -len(record.body))
            raise

    def _grow(self, whispers: int, size: int) -> None:
        self._count += whispers
        self._seen += whispers
        self._bytes += size

    async def next_unfinished(self, shown: Collection[WhisperId]) -> Stored | None:
        """The oldest whisper that is neither finished nor among `shown`."""

        def read(connection: sqlite3.Connection) -> Stored | None:
            for number, whisper_id in connection.execute("SELECT number, id FROM inbox ORDER BY number"):
                if whisper_id not in shown:
                    row = connection.execute(
                        "SELECT id, body, received_at, expires, class FROM inbox WHERE number = ?", (number,)
                    ).fetchone()
                    return Stored(*row)
            return None

        return await self._database.transaction(read)

    async def finish(self, whisper_id: WhisperId, reply: Record | None = None) -> None:
        """The program is done with a whisper: erase it, and keep its reply, in one transaction."""

        def write(connection: sqlite3.Connection) -> int | None:
            row = connection.execute("SELECT LENGTH(body) FROM inbox WHERE id = ?", (whisper_id,)).fetchone()
            connection.execute("DELETE FROM inbox WHERE id = ?", (whisper_id,))
            if reply is not None:
                connection.execute(
                    "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?)",
                    (reply.whisper_id, whisper_id, reply.encode(), reply.expires),
                )
                connection.execute(
                    "DELETE FROM replies WHERE id IN"
                    " (SELECT id FROM replies ORDER BY expires DESC LIMIT -1 OFFSET ?)",
                    (REPLIES_MOST,),
                )
            return None if row is None else int(row[0])

        size = await self._database.transaction(write, erases=True)
        if size is not None:
            self._count -= 1
            self._bytes -= size

    async def reply_to(self, whisper_id: WhisperId) -> Record | None:
        """The reply to a whisper that the visitor has not acknowledged yet."""

        def read(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute("SELECT record FROM replies WHERE whisper = ?", (whisper_id,)).fetchone()
            return None if row is None else bytes(row[0])

        encoded = await self._database.transaction(read)
        return None if encoded is None else Record.decode_untrusted(encoded)

    async def reply_acknowledged(self, reply_id: WhisperId) -> None:
        """The visitor has it: erase it."""
        await self._database.transaction(
            lambda connection: connection.execute("DELETE FROM replies WHERE id = ?", (reply_id,)),
            erases=True,
        )

    async def tidy(self, wall: int) -> None:
        """Forget ids and replies past their time."""

        def write(connection: sqlite3.Connection) -> int:
            connection.execute("DELETE FROM seen WHERE until < ?", (wall,))
            connection.execute("DELETE FROM replies WHERE expires < ?", (wall,))
            count: int = connection.execute("SELECT COUNT(*) FROM seen").fetchone()[0]
            return count

        self._seen = await self._database.transaction(write, erases=True)
