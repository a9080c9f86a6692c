"""Receipts that are owed to visitors who are away, on disk until they are left in a mailbox (SPEC 14).

A relay is asked to erase a letter only once the receipt for it is here. So a crash before the receipt is left
loses neither of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from onionshh.core.delivery.record import Record
from onionshh.ids import WhisperId
from onionshh.net.database import Database

OWED_MIGRATIONS: Final = (
    """
CREATE TABLE owed_receipts (
    whisper BLOB PRIMARY KEY, session BLOB NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
""",
)


class OwedStore:
    """The owed receipts of one endpoint. `whisper`: what a receipt is for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> list[tuple[bytes, Record]]:
        """All of them, each with its session. BadData."""

        def read(connection: sqlite3.Connection) -> list[tuple[bytes, bytes]]:
            return connection.execute("SELECT session, record FROM owed_receipts").fetchall()

        rows = await self._database.read(read)
        return [(session, Record.decode_untrusted(record)) for session, record in rows]

    async def add(self, session: bytes, receipts: Sequence[Record]) -> None:
        """Keep these. BadData, Closed."""
        rows = [(receipt.in_reply_to, session, receipt.encode()) for receipt in receipts]
        await self._database.transaction(
            lambda connection: connection.executemany(
                "INSERT OR REPLACE INTO owed_receipts VALUES (?, ?, ?)", rows
            )
        )

    def forget(self, whispers: Iterable[WhisperId]) -> None:
        """These are not owed any more. They are erased soon."""
        rows = [(whisper,) for whisper in whispers]
        self._database.soon(
            lambda connection: connection.executemany("DELETE FROM owed_receipts WHERE whisper = ?", rows)
        )
