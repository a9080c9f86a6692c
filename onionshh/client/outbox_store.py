"""The outbox on disk (SPEC 13): whispers that were accepted and must arrive, and the answers to them.

One table serves many peers: a contact's own rows have an empty `peer`, those of an endpoint have the id of
the peer's session. This file has only rows and transactions. The Sender (core/delivery/sender.py) decides.

| moment                     | row                                              | written                   |
|----------------------------|--------------------------------------------------|---------------------------|
| the program sends          | added, with the whole record                     | before `send` returns     |
| the status is final        | status and why; the record is erased             | soon                      |
| an answer came             | added to the answers, not shown                  | before its receipt leaves |
| the program has the answer | marked as shown; it goes when its TTL ends       | soon                      |
| 7 days after the expiry    | erased; earlier, if there are over SETTLED_MOST  | within a minute           |

A crash before something that is written "soon" repeats the step: the whisper goes out again under its id,
which the other end knows.
"""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import Any, Final

from onionshh.client.delivery.outbox import Stored, mark_of
from onionshh.client.receipt import Status
from onionshh.core.delivery.outgoing import ASKABLE_SECONDS
from onionshh.core.delivery.record import NO_ID, WHISPER, Record
from onionshh.ids import WhisperId
from onionshh.net.database import Database

OUTBOX_MIGRATIONS: Final = (
    """
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT, peer BLOB NOT NULL, id BLOB NOT NULL UNIQUE,
    expires INTEGER NOT NULL, class INTEGER NOT NULL, record BLOB, key BLOB, mark BLOB,
    status TEXT, why TEXT NOT NULL DEFAULT '');
CREATE UNIQUE INDEX outbox_key ON outbox (peer, key) WHERE key IS NOT NULL;
CREATE INDEX outbox_status ON outbox (status);
CREATE TABLE answers (
    whisper BLOB PRIMARY KEY, id BLOB NOT NULL UNIQUE, peer BLOB NOT NULL, expires INTEGER NOT NULL,
    record BLOB NOT NULL, shown INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
""",
)

SETTLED_MOST: Final = 8192
"""Whispers with a final status that are kept, and as many answers."""
KEPT_SECONDS: Final = 7 * 24 * 3600
"""How long after its expiry a whisper's row is kept, so that the program finds its receipt."""
TRIM_EVERY: Final = 256
AT_A_CONTACT: Final = b""
"""The peer of a contact's own rows."""

_COLUMNS: Final = "o.id, o.expires, o.class, o.record, o.status, o.why, a.record"
_FROM: Final = "FROM outbox o LEFT JOIN answers a ON a.whisper = o.id"
_Row = tuple[bytes, int, int, bytes | None, Status | None, str, bytes | None]


class OutboxStore:
    """The outboxes of one endpoint or contact. `tidy` it now and then."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._settled = 0

    def of(self, peer: bytes) -> PeerOutbox:
        """The outbox for one peer: a session's id, or `AT_A_CONTACT`."""
        return PeerOutbox(self, peer)

    async def peers(self) -> list[bytes]:
        """The peers for whom something waits, the one that waits longest first."""

        def read(connection: sqlite3.Connection) -> list[bytes]:
            rows = connection.execute(
                "SELECT peer FROM outbox WHERE status IS NULL GROUP BY peer ORDER BY MIN(number)"
            )
            return [bytes(row[0]) for row in rows]

        return await self.database.read(read)

    async def tidy(self, earliest: int) -> None:
        """Erase what is past its time. `earliest`: from `Clock.earliest`. BadData, Closed."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "DELETE FROM outbox WHERE status IS NOT NULL AND expires < ?", (earliest - KEPT_SECONDS,)
            )
            connection.execute(
                "DELETE FROM answers WHERE expires < ? OR (shown AND expires < ?)",
                (earliest - KEPT_SECONDS, earliest),
            )
            trim(connection)

        await self.database.transaction(write, erases=True)

    def forget_soon(self, peer: bytes) -> None:
        """Erase all rows of this peer: its session is over."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM outbox WHERE peer = ?", (peer,))
            connection.execute("DELETE FROM answers WHERE peer = ?", (peer,))

        self.database.soon(write)

    def settle_soon(self, whisper: WhisperId, status: Status, why: str) -> None:
        """Note a final status, and erase the record. Now and then, erase what is too much."""
        self._settled += 1
        trims = self._settled % TRIM_EVERY == 0

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE outbox SET status = ?, why = ?, record = NULL WHERE id = ?", (status, why, whisper)
            )
            if trims:
                trim(connection)

        self.database.soon(write)


class PeerOutbox:
    """An `Outbox` with rows on disk, for one peer."""

    def __init__(self, store: OutboxStore, peer: bytes) -> None:
        self._database = store.database
        self._settle_soon = store.settle_soon
        self._peer = peer

    @property
    def lasts(self) -> bool:
        """Always."""
        return True

    async def load(self, now: int) -> list[Stored]:
        """What the Sender must know, in the order of acceptance: whispers without a final status, and those
        whose answers may still come. `now`: Unix seconds. BadData, Closed."""

        def read(connection: sqlite3.Connection) -> list[_Row]:
            return connection.execute(
                f"SELECT {_COLUMNS} {_FROM} WHERE o.peer = ? AND (o.status IS NULL OR"
                " (o.status IN ('sent', 'delivered') AND a.record IS NULL AND o.expires > ?))"
                " ORDER BY o.number",
                (self._peer, now - ASKABLE_SECONDS),
            ).fetchall()

        return [_stored(row) for row in await self._database.read(read)]

    def accept(self, record: Record, key: bytes | None) -> None:
        """As `Outbox.accept`."""
        self._database.transaction_now(lambda connection: self.write(connection, record, key))

    def write(self, connection: sqlite3.Connection, record: Record, key: bytes | None = None) -> None:
        """The row of a whisper that is accepted, within a transaction."""
        mark = None if key is None else mark_of(record.whisper_id, record.body)
        encoded = record.encode()
        row = (self._peer, record.whisper_id, record.expires, record.privacy_class, encoded, key, mark)
        connection.execute(
            "INSERT INTO outbox (peer, id, expires, class, record, key, mark) VALUES (?, ?, ?, ?, ?, ?, ?)",
            row,
        )

    def with_key(self, key: bytes) -> tuple[WhisperId, bytes] | None:
        """As `Outbox.with_key`."""
        row = self._one("SELECT id, mark FROM outbox WHERE peer = ? AND key = ?", key)
        return None if row is None else (WhisperId(row[0]), row[1])

    def find(self, whisper: WhisperId) -> Stored | None:
        """As `Outbox.find`."""
        row = self._one(f"SELECT {_COLUMNS} {_FROM} WHERE o.peer = ? AND o.id = ?", whisper)
        return None if row is None else _stored(row)

    def _one(self, query: str, value: bytes) -> Any:
        return self._database.read_now(
            lambda connection: connection.execute(query, (self._peer, value)).fetchone()
        )

    def settled(self, whisper: WhisperId, status: Status, why: str) -> None:
        """As `Outbox.settled`."""
        self._settle_soon(whisper, status, why)

    async def keep_answer(self, answer: Record) -> None:
        """As `Outbox.keep_answer`. A copy of an answer changes nothing."""
        row = (answer.in_reply_to, answer.whisper_id, self._peer, answer.expires, answer.encode())
        await self._database.transaction(
            lambda connection: connection.execute(
                "INSERT OR IGNORE INTO answers (whisper, id, peer, expires, record) VALUES (?, ?, ?, ?, ?)",
                row,
            )
        )

    async def late_answers(self) -> list[Record]:
        """The answers that the program does not have yet, those that expire first coming first. BadData,
        Closed."""

        def read(connection: sqlite3.Connection) -> list[bytes]:
            rows = connection.execute(
                "SELECT record FROM answers WHERE peer = ? AND NOT shown ORDER BY expires, id", (self._peer,)
            )
            return [bytes(row[0]) for row in rows]

        # A transaction, so that what was marked as shown until now is written first.
        return [Record.decode_untrusted(encoded) for encoded in await self._database.transaction(read)]

    def shown(self, answer: WhisperId) -> None:
        """As `Outbox.shown`."""
        self._database.soon(partial(_shown, answer))


def trim(connection: sqlite3.Connection) -> None:
    """Erase the oldest of what is too much."""
    connection.execute(
        "DELETE FROM outbox WHERE number IN (SELECT number FROM outbox WHERE status IS NOT NULL"
        " ORDER BY number DESC LIMIT -1 OFFSET ?)",
        (SETTLED_MOST,),
    )
    connection.execute(
        "DELETE FROM answers WHERE id IN (SELECT id FROM answers ORDER BY expires DESC LIMIT -1 OFFSET ?)",
        (SETTLED_MOST,),
    )


def _shown(answer: WhisperId, connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE answers SET shown = 1 WHERE id = ?", (answer,))


def _stored(row: _Row) -> Stored:
    whisper, expires, privacy_class, encoded, status, why, answer = row
    if encoded is None:
        record = Record(WhisperId(whisper), NO_ID, expires, privacy_class, WHISPER, b"")
    else:
        record = Record.decode_untrusted(encoded)
    return Stored(record, status, why, None if answer is None else Record.decode_untrusted(answer))
