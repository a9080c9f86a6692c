"""Letters that are being left, on disk (SPEC 14).

| moment                          | row                                      | written                     |
|---------------------------------|------------------------------------------|-----------------------------|
| `leave`                         | the letter; each part: key, sealed bytes | before any PUT              |
| a proof is found                | the part's effort and nonce              | before a PUT with it        |
| a relay is to be asked          | the copy at this relay: tried            | before the PUT              |
| the relay has it, or erased it  | the copy at this relay: stored or erased | after the answer            |
| `extend`                        | the parts: their end, and a new revision | before a PUT with it        |
| `recall`                        | the letter is marked                     | before `recall` returns     |
| the time is over, all is erased | everything of it is erased               | within a second             |

Whoever has this file can erase or extend the items, and sees which mailbox a letter went to. It cannot read
the letter, unless it has the rest of the file too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from onionshh.client.mail.deposits import NO_VALUE, KeptItem, KeptLetter, SealedItem, whisper_of
from onionshh.core.endpoint.ring import REPLICAS
from onionshh.core.mailbox.copies import Copy, CopyState
from onionshh.core.mailbox.places import COPIES
from onionshh.core.mailbox.work import NO_PROOF
from onionshh.errors import BadData
from onionshh.ids import RelayId, WhisperId
from onionshh.net.database import Database
from onionshh.wire.mailbox import Mailbox

DEPOSIT_MIGRATIONS: Final = (
    """
CREATE TABLE letters_left (
    number INTEGER PRIMARY KEY AUTOINCREMENT, letter BLOB NOT NULL UNIQUE, until INTEGER NOT NULL,
    recalled INTEGER NOT NULL DEFAULT 0);
CREATE TABLE deposits (
    id BLOB PRIMARY KEY, letter BLOB NOT NULL, part INTEGER NOT NULL, mailbox BLOB NOT NULL,
    seed BLOB NOT NULL, expires INTEGER NOT NULL, effort INTEGER NOT NULL DEFAULT 0, nonce BLOB,
    value BLOB NOT NULL);
CREATE INDEX deposits_letter ON deposits (letter, part);
CREATE TABLE deposit_copies (
    id BLOB NOT NULL, relay BLOB NOT NULL, place INTEGER NOT NULL, state INTEGER NOT NULL,
    PRIMARY KEY (id, relay)) WITHOUT ROWID;
""",
    "ALTER TABLE deposits ADD COLUMN revision INTEGER NOT NULL DEFAULT 0",
)


_STORED: Final = """
SELECT letter, MIN(copies), MIN(places), mailbox FROM (
    SELECT l.number AS number, l.letter AS letter, COUNT(c.relay) AS copies, COUNT(DISTINCT c.place)
    AS places, d.mailbox AS mailbox
    FROM letters_left l JOIN deposits d ON d.letter = l.letter
    LEFT JOIN deposit_copies c ON c.id = d.id AND c.state = ?
    WHERE NOT l.recalled GROUP BY d.id)
GROUP BY letter ORDER BY MIN(number)
"""


class DepositStore:
    """`Deposits` in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> list[KeptLetter]:
        """As `Deposits.load`."""

        def read(connection: sqlite3.Connection) -> list[KeptLetter]:
            letters = connection.execute(
                "SELECT letter, until, recalled FROM letters_left ORDER BY number"
            ).fetchall()
            return [
                KeptLetter(WhisperId(letter), until, bool(recalled), _items(connection, letter))
                for letter, until, recalled in letters
            ]

        return await self._database.read(read)

    async def value(self, item_id: bytes) -> bytes:
        """As `Deposits.value`."""
        row = await self._database.read(
            lambda connection: connection.execute(
                "SELECT value FROM deposits WHERE id = ?", (item_id,)
            ).fetchone()
        )
        if row is None:
            raise BadData(NO_VALUE)
        return bytes(row[0])

    async def add(self, letter: WhisperId, items: Sequence[SealedItem], until: int) -> None:
        """As `Deposits.add`."""
        await self._database.transaction(lambda connection: self.write(connection, letter, items, until))

    @staticmethod
    def write(
        connection: sqlite3.Connection, letter: WhisperId, items: Sequence[SealedItem], until: int
    ) -> None:
        """The rows of a new letter, within a transaction. What is there of an earlier letter of this name
        goes: it was forgotten, and the disk was too full to erase it."""
        _erase(connection, letter)
        connection.execute("INSERT INTO letters_left (letter, until) VALUES (?, ?)", (letter, until))
        connection.executemany(
            "INSERT INTO deposits (id, letter, part, mailbox, seed, expires, value)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (item.item_id, letter, part, item.mailbox.encode(), item.seed, item.expires, item.value)
                for part, item in enumerate(items)
            ],
        )

    async def proved(self, item_id: bytes, effort: int, nonce: bytes) -> None:
        """As `Deposits.proved`."""
        await self._database.transaction(
            lambda connection: connection.execute(
                "UPDATE deposits SET effort = ?, nonce = ? WHERE id = ?", (effort, nonce, item_id)
            )
        )

    async def copied(self, item_id: bytes, copy: Copy) -> None:
        """As `Deposits.copied`."""
        row = (copy.relay, copy.place, copy.state, item_id)
        await self._database.transaction(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO deposit_copies (id, relay, place, state)"
                " SELECT id, ?, ?, ? FROM deposits WHERE id = ?",
                row,
            )
        )

    async def extended(self, letter: WhisperId, expires: int) -> None:
        """As `Deposits.extended`."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE letters_left SET until = ? WHERE letter = ?", (expires, letter))
            connection.execute(
                "UPDATE deposit_copies SET state = ? WHERE state = ?"
                " AND id IN (SELECT id FROM deposits WHERE letter = ?)",
                (CopyState.TRIED, CopyState.STORED, letter),
            )
            connection.execute(
                "UPDATE deposits SET expires = ?, effort = 0, nonce = NULL, revision = revision + 1"
                " WHERE letter = ?",
                (expires, letter),
            )

        await self._database.transaction(write)

    async def recalled(self, letter: WhisperId) -> None:
        """As `Deposits.recalled`."""
        await self._database.transaction(
            lambda connection: connection.execute(
                "UPDATE letters_left SET recalled = 1 WHERE letter = ?", (letter,)
            )
        )

    def forget(self, letter: WhisperId) -> None:
        """As `Deposits.forget`."""
        self._database.soon(lambda connection: _erase(connection, letter))


def stored_letters(connection: sqlite3.Connection) -> dict[WhisperId, int]:
    """How many relays have each whisper of a contact that is stored: of the part that the fewest have. A file
    from before there were letters has none."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'letters_left'").fetchone() is None:
        return {}
    found: dict[WhisperId, int] = {}
    for letter, copies, places, mailbox in connection.execute(_STORED, (CopyState.STORED,)):
        if places >= REPLICAS:
            whisper = whisper_of(WhisperId(letter), mailbox[0])
            found[whisper] = max(min(COPIES, copies), found.get(whisper, 0))
    return found


def _erase(connection: sqlite3.Connection, letter: bytes) -> None:
    connection.execute(
        "DELETE FROM deposit_copies WHERE id IN (SELECT id FROM deposits WHERE letter = ?)", (letter,)
    )
    connection.execute("DELETE FROM deposits WHERE letter = ?", (letter,))
    connection.execute("DELETE FROM letters_left WHERE letter = ?", (letter,))


def _items(connection: sqlite3.Connection, letter: bytes) -> tuple[KeptItem, ...]:
    rows = connection.execute(
        "SELECT id, mailbox, seed, expires, effort, nonce, revision"
        " FROM deposits WHERE letter = ? ORDER BY part",
        (letter,),
    ).fetchall()
    return tuple(
        KeptItem(
            item_id,
            Mailbox.decode_untrusted(mailbox),
            seed,
            expires,
            effort,
            nonce or NO_PROOF,
            _copies(connection, item_id),
            revision,
        )
        for item_id, mailbox, seed, expires, effort, nonce, revision in rows
    )


def _copies(connection: sqlite3.Connection, item_id: bytes) -> tuple[Copy, ...]:
    rows = connection.execute("SELECT relay, place, state FROM deposit_copies WHERE id = ?", (item_id,))
    return tuple(Copy(RelayId(relay), place, CopyState(state)) for relay, place, state in rows)
