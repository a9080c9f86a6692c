"""Whispers an endpoint has taken on, until the program has finished with them (SPEC 13).

Before a receipt leaves, `keep` writes id and body in one synced transaction, or the program has finished
and `finish` has written the id, and with it the reply. A program that is quick finishes before a receipt is
due, so most bodies never reach the disk. Ids outlive the rows, so that each whisper is delivered once, and
so do replies, until the visitor has acknowledged them or they expire.

How often a whisper was shown is written before it is shown from disk. A program that one whisper ends, each
time it is shown, gets all others first: a bad whisper keeps nobody waiting.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal

import trio

from onionshh.core.whisper import EXPIRY_GRACE_SECONDS, SEEN_EXTRA_SECONDS, Record
from onionshh.errors import BadData
from onionshh.ids import WhisperId
from onionshh.net.database import Database

logger = logging.getLogger("onionshh.client")

WHISPERS_MOST: Final = 1024
BYTES_MOST: Final = 16 * 1024 * 1024
SEEN_MOST: Final = 1_000_000
"""Ids remembered: with that many nothing more is accepted until the oldest expire."""
REPLIES_MOST: Final = 1024
"""Replies kept for visitors that have not come back: beyond it the one that expires first goes."""

INBOX_MIGRATIONS: Final = (
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
)

Accepted = Literal["new", "known", "full"]


@dataclass(frozen=True, slots=True)
class Stored:
    """One unfinished whisper. `received_at`: Unix seconds."""

    whisper_id: WhisperId
    body: bytes = field(repr=False)
    received_at: float
    expires: int
    privacy_class: int


@dataclass(slots=True)
class _Unfinished:
    """`stored` is None once it is on disk. `shown`: how often it was, in all."""

    size: int
    expires: int
    shown: int
    stored: Stored | None


class Inbox:
    """`load` it once before use."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unfinished: dict[WhisperId, _Unfinished] = {}
        self._bytes = 0
        self._seen = 0
        self._replies: set[WhisperId] = set()
        """Ids of the replies on disk, so that nobody can ask for others to be erased."""
        self._judging: dict[WhisperId, trio.Event] = {}
        self._being_shown: set[WhisperId] = set()

    @property
    def unfinished(self) -> int:
        """Whispers that the program has still to finish with."""
        return len(self._unfinished)

    @property
    def replies(self) -> int:
        """Replies that their visitors have not acknowledged yet."""
        return len(self._replies)

    async def load(self, earliest: int) -> None:
        """Find out what is there and forget what is past its time, by `Clock.earliest`."""
        await self.tidy(earliest)
        rows = await self._database.read(
            lambda connection: connection.execute(
                "SELECT id, LENGTH(body), expires, shown FROM inbox ORDER BY number"
            ).fetchall()
        )
        self._unfinished = {
            WhisperId(whisper_id): _Unfinished(size, expires, shown, None)
            for whisper_id, size, expires, shown in rows
        }
        self._bytes = sum(one.size for one in self._unfinished.values())

    async def accept(self, record: Record, received_at: float) -> Accepted:
        """Take a whisper on, in memory. It may be acknowledged once `keep` or `finish` has returned.

        `known`: it is here or was; its receipt may be due again, after `keep`. `full`: try again later.
        """
        whisper_id = record.whisper_id
        while (judging := self._judging.get(whisper_id)) is not None:
            await judging.wait()  # another copy, over another circuit
        if whisper_id in self._unfinished:
            await trio.lowlevel.checkpoint()
            return "known"
        self._judging[whisper_id] = judged = trio.Event()
        try:
            if await self._database.read(partial(_was_seen, whisper_id)):
                return "known"
        finally:
            del self._judging[whisper_id]
            judged.set()
        if (
            len(self._unfinished) >= WHISPERS_MOST
            or self._bytes + len(record.body) > BYTES_MOST
            or self._seen >= SEEN_MOST
        ):
            return "full"
        stored = Stored(whisper_id, record.body, received_at, record.expires, record.privacy_class)
        self._unfinished[whisper_id] = _Unfinished(len(record.body), record.expires, 0, stored)
        self._bytes += len(record.body)
        self._seen += 1
        return "new"

    @property
    def waiting(self) -> tuple[int, int]:
        """How many whispers are unfinished, and how many replies wait for their visitors."""
        return len(self._unfinished), len(self._replies)

    def is_unfinished(self, whisper_id: WhisperId) -> bool:
        """Whether the program has still to finish with it."""
        return whisper_id in self._unfinished

    async def keep(self, whisper_ids: Iterable[WhisperId]) -> None:
        """On disk, or finished, when this returns: these may be acknowledged."""
        fresh = [
            one.stored
            for whisper_id in whisper_ids
            if (one := self._unfinished.get(whisper_id)) is not None and one.stored is not None
        ]
        if not fresh:
            return

        def write(connection: sqlite3.Connection) -> None:
            for stored in fresh:
                if _note_seen(connection, stored):  # else its finishing overtook us
                    one = self._unfinished.get(stored.whisper_id)
                    connection.execute(
                        "INSERT INTO inbox (id, body, received_at, expires, class, shown)"
                        " VALUES (?, ?, ?, ?, ?, ?)",
                        (
                            stored.whisper_id,
                            stored.body,
                            stored.received_at,
                            stored.expires,
                            stored.privacy_class,
                            one.shown if one is not None else 0,
                        ),
                    )

        await self._database.transaction(write)
        for stored in fresh:
            if (one := self._unfinished.get(stored.whisper_id)) is not None:
                one.stored = None

    async def next_unfinished(self, held: Collection[WhisperId], now: int) -> Stored | None:
        """The whisper to show next: none of those that the program still holds. `now`: Unix seconds.

        Those never shown come first, among these those whose senders still wait, among these the oldest.
        """
        while True:
            await trio.lowlevel.checkpoint_if_cancelled()
            whisper_id = self._choose(held, now)
            if whisper_id is None:
                return None
            one = self._unfinished[whisper_id]
            self._being_shown.add(whisper_id)
            try:
                stored = one.stored or await self._show_from_disk(whisper_id)
            finally:
                self._being_shown.discard(whisper_id)
            if stored is not None:
                one.shown += 1
                return stored
            self._forget(whisper_id)  # somebody else was shown it, and has finished

    def _choose(self, held: Collection[WhisperId], now: int) -> WhisperId | None:
        best: tuple[tuple[int, bool], WhisperId] | None = None
        for whisper_id, one in self._unfinished.items():  # oldest first
            if whisper_id in held or whisper_id in self._being_shown:
                continue
            rank = (one.shown, one.expires <= now)
            if best is None or rank < best[0]:
                best = (rank, whisper_id)
                if rank == (0, False):
                    break
        return None if best is None else best[1]

    async def _show_from_disk(self, whisper_id: WhisperId) -> Stored | None:
        """Its row, and that it is shown noted: on disk before the program can be ended by it."""
        try:
            return await self._database.transaction(partial(_stored_to_show, whisper_id))
        except BadData as error:
            # A disk that takes nothing can still be read, and what is on it may be what makes room.
            logger.warning("a whisper is shown and that could not be noted: %s", error)
            return await self._database.read(partial(_stored, whisper_id))

    async def finish(self, whisper_id: WhisperId, reply: Record | None = None) -> None:
        """The program is done with a whisper: erase it, and keep its reply, in one transaction."""
        one = self._unfinished.get(whisper_id)
        fresh = None if one is None else one.stored

        def write(connection: sqlite3.Connection) -> None:
            if fresh is None or not _note_seen(connection, fresh):
                connection.execute("DELETE FROM inbox WHERE id = ?", (whisper_id,))
            if reply is not None:
                connection.execute(
                    "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?)",
                    (reply.whisper_id, whisper_id, reply.encode(), reply.expires),
                )
                # Here, in the order of the transactions; an id too many after one that failed is harmless.
                self._replies.add(reply.whisper_id)
                too_many = connection.execute(
                    "SELECT id FROM replies ORDER BY expires DESC LIMIT -1 OFFSET ?", (REPLIES_MOST,)
                ).fetchall()
                for row in too_many:
                    connection.execute("DELETE FROM replies WHERE id = ?", row)
                    self._replies.discard(WhisperId(row[0]))

        await self._database.transaction(write, erases=True)
        self._forget(whisper_id)

    def _forget(self, whisper_id: WhisperId) -> None:
        one = self._unfinished.pop(whisper_id, None)
        if one is not None:
            self._bytes -= one.size

    async def reply_to(self, whisper_id: WhisperId) -> Record | None:
        """The reply to a whisper that the visitor has not acknowledged yet."""

        def read(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute("SELECT record FROM replies WHERE whisper = ?", (whisper_id,)).fetchone()
            return None if row is None else bytes(row[0])

        encoded = await self._database.read(read)
        return None if encoded is None else Record.decode_untrusted(encoded)

    def reply_acknowledged(self, reply_id: WhisperId) -> None:
        """The visitor has it: erase it soon. After a crash before that it goes when it expires.

        Whoever acknowledges what was never sent, as often as he likes, costs a look-up each.
        """
        if reply_id not in self._replies:
            return
        self._replies.discard(reply_id)
        self._database.soon(
            lambda connection: connection.execute("DELETE FROM replies WHERE id = ?", (reply_id,))
        )

    async def tidy(self, earliest: int) -> None:
        """Forget ids and replies past their time. A wall clock that jumped must not forget an id: its whisper
        would be delivered twice; hence `Clock.earliest`."""

        def write(connection: sqlite3.Connection) -> int:
            connection.execute("DELETE FROM seen WHERE until < ?", (earliest,))
            connection.execute("DELETE FROM replies WHERE expires < ?", (earliest,))
            count: int = connection.execute("SELECT COUNT(*) FROM seen").fetchone()[0]
            self._replies = {WhisperId(row[0]) for row in connection.execute("SELECT id FROM replies")}
            return count

        self._seen = await self._database.transaction(write, erases=True)


def _was_seen(whisper_id: WhisperId, connection: sqlite3.Connection) -> bool:
    row = connection.execute("SELECT 1 FROM seen WHERE id = ?", (whisper_id,)).fetchone()
    return row is not None


def _note_seen(connection: sqlite3.Connection, stored: Stored) -> bool:
    """Whether this was its first time."""
    until = stored.expires + EXPIRY_GRACE_SECONDS + SEEN_EXTRA_SECONDS
    cursor = connection.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (stored.whisper_id, until))
    return cursor.rowcount == 1


def _stored(whisper_id: WhisperId, connection: sqlite3.Connection) -> Stored | None:
    row = connection.execute(
        "SELECT id, body, received_at, expires, class FROM inbox WHERE id = ?", (whisper_id,)
    ).fetchone()
    return None if row is None else Stored(*row)


def _stored_to_show(whisper_id: WhisperId, connection: sqlite3.Connection) -> Stored | None:
    connection.execute("UPDATE inbox SET shown = shown + 1 WHERE id = ?", (whisper_id,))
    return _stored(whisper_id, connection)
