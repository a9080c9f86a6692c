"""Transfers that an endpoint has not finished, part by part, on disk (SPEC 13).

This file has only rows and transactions. IncomingTransfers (core/delivery/transfer_in.py) decides what is
written and when. The ids of finished and refused transfers outlive their parts.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from onionshh.client.hosting.whisper_store import nothing_else
from onionshh.core.delivery.arriving import Kept
from onionshh.core.delivery.parts import TransferId
from onionshh.core.delivery.transfer_actions import (
    DropTransfer,
    FinishTransfer,
    ForgetTransfer,
    KeepPart,
    MarkWhole,
    StoredPart,
    StoredTransfer,
    TransferRow,
)
from onionshh.errors import BadData
from onionshh.net.database import Database
from onionshh.net.store import RunBlocking

logger = logging.getLogger("onionshh.client")

PART_MIGRATIONS: Final = (
    """
CREATE TABLE IF NOT EXISTS transfers (
    number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, state INTEGER NOT NULL, expires INTEGER NOT NULL,
    shown INTEGER NOT NULL DEFAULT 0, last INTEGER, hash BLOB NOT NULL DEFAULT x'', whole INTEGER,
    session BLOB, received INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS parts (
    transfer BLOB NOT NULL, number INTEGER NOT NULL, digest BLOB NOT NULL, data BLOB NOT NULL,
    UNIQUE (transfer, number));
""",
)
"""`whole`: the place among the whole transfers, from 1. `received`: when it was whole."""


class PartStore:
    """One endpoint's rows. `run_long`: runs what takes many milliseconds, off the event loop."""

    def __init__(self, database: Database, run_long: RunBlocking) -> None:
        self._database = database
        self._run_long = run_long

    async def held(self) -> list[StoredTransfer]:
        """All transfers: the whole ones in the order in which they became whole, the others as they began."""
        return await self._database.read(_held)

    async def commit(
        self, rows: Sequence[TransferRow], also: Callable[[sqlite3.Connection], None] = nothing_else
    ) -> None:
        """Write all of these or none, synced, with what `also` writes. BadData, Closed."""

        def write(connection: sqlite3.Connection) -> None:
            also(connection)
            for row in rows:
                _write(connection, row)

        erases = any(isinstance(row, DropTransfer | FinishTransfer | ForgetTransfer) for row in rows)
        await self._database.transaction(write, erases=erases)

    async def whole_hash(self, transfer: TransferId, parts: int) -> bytes:
        """SHA3-256 over the parts 0 to `parts` - 1 on disk. Other transactions run in between. BadData,
        Closed."""

        def hashed() -> bytes:
            whole = hashlib.sha3_256()
            for number in range(parts):
                whole.update(self._database.read_now(partial(_data, transfer, number)) or b"")
            return whole.digest()

        return await self._run_long(hashed)

    async def show(self, transfer: TransferId) -> None:
        """Note on disk that a transfer is shown, before it can crash the program."""
        try:
            await self._database.transaction(
                lambda connection: connection.execute(
                    "UPDATE transfers SET shown = shown + 1 WHERE id = ?", (transfer,)
                )
            )
        except BadData as error:
            # A full disk can still be read, and finishing what is on it may make room.
            logger.warning("a transfer is shown and that could not be noted: %s", error)

    async def read(self, transfer: TransferId, number: int) -> bytes | None:
        """The data of one part. None if it is not there any more. BadData, Closed."""
        return await self._database.read(partial(_data, transfer, number))


def _held(connection: sqlite3.Connection) -> list[StoredTransfer]:
    parts: dict[bytes, list[StoredPart]] = {}
    for transfer, number, digest, size in connection.execute(
        "SELECT transfer, number, digest, LENGTH(data) FROM parts ORDER BY number"
    ):
        parts.setdefault(transfer, []).append(StoredPart(number, digest, size))
    return [
        StoredTransfer(
            TransferId(transfer),
            state,
            expires,
            shown,
            last,
            whole_hash,
            tuple(parts.get(transfer, ())),
            session,
            received_at,
        )
        for transfer, state, expires, shown, last, whole_hash, session, received_at in connection.execute(
            "SELECT id, state, expires, shown, last, hash, session, received FROM transfers"
            " ORDER BY whole, number"
        )
    ]


def _write(connection: sqlite3.Connection, row: TransferRow) -> None:
    match row:
        case KeepPart():
            _keep(connection, row)
        case MarkWhole(transfer, received_at):
            connection.execute(
                "UPDATE transfers SET state = ?, received = ?,"
                " whole = (SELECT COALESCE(MAX(whole), 0) + 1 FROM transfers) WHERE id = ?",
                (Kept.WHOLE, received_at, transfer),
            )
        case DropTransfer(transfer, expires):
            _erase(connection, transfer)
            connection.execute(
                "INSERT INTO transfers (id, state, expires) VALUES (?, ?, ?)", (transfer, Kept.BAD, expires)
            )
        case FinishTransfer(transfer):
            connection.execute("DELETE FROM parts WHERE transfer = ?", (transfer,))
            connection.execute(
                "UPDATE transfers SET state = ?, shown = 0, last = NULL, hash = x'', whole = NULL,"
                " session = NULL, received = 0 WHERE id = ?",
                (Kept.DONE, transfer),
            )
        case ForgetTransfer(transfer):
            _erase(connection, transfer)


def _keep(connection: sqlite3.Connection, row: KeepPart) -> None:
    part = row.part
    connection.execute(
        "INSERT OR IGNORE INTO transfers (id, state, expires) VALUES (?, ?, ?)",
        (part.transfer, Kept.COMING, row.expires),
    )
    state = connection.execute("SELECT state FROM transfers WHERE id = ?", (part.transfer,)).fetchone()[0]
    if state != Kept.COMING:
        return  # it was dropped before this part was written
    connection.execute(
        "INSERT OR REPLACE INTO parts (transfer, number, digest, data) VALUES (?, ?, ?, ?)",
        (part.transfer, part.number, row.digest, part.data),
    )
    connection.execute("UPDATE transfers SET session = ? WHERE id = ?", (row.session, part.transfer))
    if part.last:
        connection.execute(
            "UPDATE transfers SET last = ?, hash = ? WHERE id = ?",
            (part.number, part.whole_hash, part.transfer),
        )


def _erase(connection: sqlite3.Connection, transfer: TransferId) -> None:
    connection.execute("DELETE FROM parts WHERE transfer = ?", (transfer,))
    connection.execute("DELETE FROM transfers WHERE id = ?", (transfer,))


def _data(transfer: TransferId, number: int, connection: sqlite3.Connection) -> bytes | None:
    row = connection.execute(
        "SELECT data FROM parts WHERE transfer = ? AND number = ?", (transfer, number)
    ).fetchone()
    return None if row is None else bytes(row[0])
