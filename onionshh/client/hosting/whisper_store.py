"""Whispers an endpoint has taken on, and its replies, on disk (SPEC 13).

This file has only rows and transactions. The Receiver (core/delivery/receiver.py) decides what is written
and when. Ids outlive the whispers' rows, so that each whisper is delivered once. Replies outlive them too,
until the visitor has acknowledged them or they expire.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import trio

from onionshh.core.delivery.actions import Finish, Keep, KeepAnswer
from onionshh.core.delivery.incoming import Taken
from onionshh.core.delivery.record import EXPIRY_GRACE_SECONDS, SEEN_EXTRA_SECONDS, Record
from onionshh.core.delivery.replies import REPLIES_MOST
from onionshh.errors import BadData
from onionshh.ids import WhisperId
from onionshh.net.database import Database

logger = logging.getLogger("onionshh.client")

WHISPER_MIGRATIONS: Final = (
    """
CREATE TABLE IF NOT EXISTS inbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, body BLOB NOT NULL,
    received_at REAL NOT NULL, expires INTEGER NOT NULL, class INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS seen (id BLOB PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_until ON seen (until);
CREATE TABLE IF NOT EXISTS replies (
    id BLOB PRIMARY KEY, whisper BLOB NOT NULL UNIQUE, record BLOB NOT NULL, expires INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS replies_expires ON replies (expires);
""",
    "ALTER TABLE inbox ADD COLUMN shown INTEGER NOT NULL DEFAULT 0",
    """
ALTER TABLE inbox ADD COLUMN session BLOB;
ALTER TABLE inbox ADD COLUMN in_reply_to BLOB NOT NULL DEFAULT x'00000000000000000000000000000000';
ALTER TABLE inbox ADD COLUMN receipt_wanted INTEGER NOT NULL DEFAULT 1;
ALTER TABLE replies ADD COLUMN session BLOB;
""",
    "ALTER TABLE inbox ADD COLUMN waited INTEGER NOT NULL DEFAULT 0",
)

Row = Keep | Finish | KeepAnswer
HeldRow = tuple[WhisperId, int, int, int, bytes | None]
"""(id, size of the body, expires in Unix seconds, how often shown, the peer's session)."""
Waiting = list[tuple[WhisperId, bytes | None]]
"""Replies, each with its peer's session."""


def nothing_else(connection: sqlite3.Connection) -> None:
    """For a commit that has nothing of others in it."""


class WhisperStore:
    """One endpoint's rows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._judging: dict[WhisperId, trio.Event] = {}

    async def held(self) -> list[HeldRow]:
        """The whispers that are not finished, oldest first."""
        return await self._database.read(
            lambda connection: [
                (WhisperId(whisper_id), size, expires, shown, session)
                for whisper_id, size, expires, shown, session in connection.execute(
                    "SELECT id, LENGTH(body), expires, shown, session FROM inbox ORDER BY number"
                )
            ]
        )

    @asynccontextmanager
    async def known(self, whisper_id: WhisperId) -> AsyncIterator[bool]:
        """Whether the id was taken on before. Copies over other circuits wait until the block ends."""
        while (judging := self._judging.get(whisper_id)) is not None:
            await judging.wait()
        self._judging[whisper_id] = judged = trio.Event()
        try:
            yield await self._database.read(partial(_was_seen, whisper_id))
        finally:
            del self._judging[whisper_id]
            judged.set()

    async def show(self, whisper_id: WhisperId) -> Taken | None:
        """A whisper as it was taken on. It is noted on disk that the whisper is shown, before the whisper can
        crash the program. None if it is not there any more.
        """
        try:
            return await self._database.transaction(partial(_taken_to_show, whisper_id))
        except BadData as error:
            # A full disk can still be read, and finishing what is on it may make room.
            logger.warning("a whisper is shown and that could not be noted: %s", error)
            return await self.look(whisper_id)

    async def look(self, whisper_id: WhisperId) -> Taken | None:
        """A whisper as it was taken on, without noting anything. None if it is not there any more."""
        return await self._database.read(partial(_taken, whisper_id))

    async def commit(
        self, rows: Sequence[Row], also: Callable[[sqlite3.Connection], None] = nothing_else
    ) -> list[WhisperId]:
        """Write all of these or none, synced, together with what `also` writes. Returns the replies that had
        to make room. BadData, Closed."""

        def write(connection: sqlite3.Connection) -> list[WhisperId]:
            also(connection)
            dropped: list[WhisperId] = []
            for row in rows:
                if isinstance(row, Keep):
                    _keep(connection, row)
                elif isinstance(row, Finish):
                    dropped += _finish(connection, row)
            return dropped

        return await self._database.transaction(write, erases=any(isinstance(row, Finish) for row in rows))

    async def replies_to(self, whisper_id: WhisperId) -> list[Record]:
        """The reply to a whisper, if there is one that the visitor has not acknowledged yet."""
        return await self._replies("whisper", whisper_id)

    async def replies_for(self, session: bytes) -> list[Record]:
        """The replies that the peer of this session has not acknowledged yet, oldest first."""
        return await self._replies("session", session)

    async def _replies(self, column: str, value: bytes) -> list[Record]:
        def read(connection: sqlite3.Connection) -> list[bytes]:
            found = connection.execute(
                f"SELECT record FROM replies WHERE {column} = ? ORDER BY expires", (value,)
            )
            return [bytes(row[0]) for row in found]

        return [Record.decode_untrusted(encoded) for encoded in await self._database.read(read)]

    def erase_reply(self, reply_id: WhisperId) -> None:
        """The visitor has this reply: erase it soon. After a crash before that, it goes when it expires."""
        self._database.soon(
            lambda connection: connection.execute("DELETE FROM replies WHERE id = ?", (reply_id,))
        )

    async def forget_session(self, session: bytes) -> list[WhisperId]:
        """Erase the replies that wait for the peer of this session, and note that its whispers have no peer
        any more. Returns the replies."""

        def write(connection: sqlite3.Connection) -> list[WhisperId]:
            replies = connection.execute("SELECT id FROM replies WHERE session = ?", (session,)).fetchall()
            connection.execute("DELETE FROM replies WHERE session = ?", (session,))
            connection.execute("UPDATE inbox SET session = NULL WHERE session = ?", (session,))
            return [WhisperId(row[0]) for row in replies]

        return await self._database.transaction(write, erases=True)

    async def tidy(self, earliest: int) -> tuple[int, Waiting]:
        """Forget ids and replies past their time. Returns how many ids are left, and which replies.

        `earliest`: from `Clock.earliest`. A wall clock that jumped must not make us forget an id, or its
        whisper would be delivered twice.
        """

        def write(connection: sqlite3.Connection) -> tuple[int, Waiting]:
            connection.execute("DELETE FROM seen WHERE until < ?", (earliest,))
            connection.execute("DELETE FROM replies WHERE expires < ?", (earliest,))
            count: int = connection.execute("SELECT COUNT(*) FROM seen").fetchone()[0]
            replies = connection.execute("SELECT id, session FROM replies")
            return count, [(WhisperId(reply), session) for reply, session in replies]

        return await self._database.transaction(write, erases=True)


def _was_seen(whisper_id: WhisperId, connection: sqlite3.Connection) -> bool:
    row = connection.execute("SELECT 1 FROM seen WHERE id = ?", (whisper_id,)).fetchone()
    return row is not None


def _note_seen(connection: sqlite3.Connection, taken: Taken) -> bool:
    """Note an id as seen. Returns whether this was its first time."""
    until = taken.expires + EXPIRY_GRACE_SECONDS + SEEN_EXTRA_SECONDS
    cursor = connection.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (taken.whisper_id, until))
    return cursor.rowcount == 1


def _keep(connection: sqlite3.Connection, row: Keep) -> None:
    taken = row.whisper
    if _note_seen(connection, taken):  # else it was finished before it was kept
        connection.execute(
            "INSERT INTO inbox"
            " (id, body, received_at, expires, class, shown, session, in_reply_to, receipt_wanted, waited)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                taken.whisper_id,
                taken.body,
                taken.received_at,
                taken.expires,
                taken.privacy_class,
                row.shown,
                taken.session,
                taken.in_reply_to,
                taken.receipt_wanted,
                taken.waited,
            ),
        )


def _finish(connection: sqlite3.Connection, row: Finish) -> list[WhisperId]:
    """Returns the replies that had to make room: those that expire first."""
    if row.fresh is None or not _note_seen(connection, row.fresh):
        connection.execute("DELETE FROM inbox WHERE id = ?", (row.whisper,))
    reply = row.reply
    if reply is None:
        return []
    connection.execute(
        "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?)",
        (reply.whisper_id, row.whisper, reply.encode(), reply.expires, row.session),
    )
    too_many = connection.execute(
        "SELECT id FROM replies ORDER BY expires DESC LIMIT -1 OFFSET ?", (REPLIES_MOST,)
    ).fetchall()
    for dropped in too_many:
        connection.execute("DELETE FROM replies WHERE id = ?", dropped)
    return [WhisperId(dropped[0]) for dropped in too_many]


def _taken(whisper_id: WhisperId, connection: sqlite3.Connection) -> Taken | None:
    row = connection.execute(
        "SELECT id, body, received_at, expires, class, session, in_reply_to, receipt_wanted, waited"
        " FROM inbox WHERE id = ?",
        (whisper_id,),
    ).fetchone()
    if row is None:
        return None
    whisper, body, received_at, expires, privacy_class, session, in_reply_to, wanted, waited = row
    return Taken(
        whisper,
        body,
        received_at,
        expires,
        privacy_class,
        session,
        in_reply_to,
        receipt_wanted=bool(wanted),
        waited=bool(waited),
    )


def _taken_to_show(whisper_id: WhisperId, connection: sqlite3.Connection) -> Taken | None:
    connection.execute("UPDATE inbox SET shown = shown + 1 WHERE id = ?", (whisper_id,))
    return _taken(whisper_id, connection)
