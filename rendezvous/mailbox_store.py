"""The items of a relay's mailboxes on disk: one SQLite file in the relay's data folder (SPEC 14).

Values lie here and nowhere else. An item that was acknowledged was synced before. What was erased is nowhere
in the files when the commit returns: SQLite overwrites it with zeros, and the write-ahead log, which still
has the old pages, is emptied after each commit that erases something.

The file stays open from the first use until `close`, since opening it costs more than a small commit. There
is one connection. A lock lets the thread that commits and the thread that reads use it in turn.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Final

from onionshh.errors import BadData
from onionshh.net.database import empty_log, open_database
from onionshh.net.store import Folder
from onionshh.rendezvous.mailbox_rows import Blank, Change, Erase, Held, ItemStore, Keep
from onionshh.wire.mailbox import Mailbox

logger = logging.getLogger("onionshh.relay")

MAILBOX_FILE: Final = "mailboxes.db"
IN_MEMORY: Final = ":memory:"

MAILBOX_MIGRATIONS: Final = (
    """
CREATE TABLE items (
    serial INTEGER PRIMARY KEY, kind INTEGER NOT NULL, name BLOB NOT NULL, period INTEGER NOT NULL,
    id BLOB NOT NULL, number INTEGER NOT NULL, expires INTEGER NOT NULL, revision INTEGER NOT NULL,
    signature BLOB NOT NULL, digest BLOB NOT NULL, value BLOB NOT NULL);
CREATE TABLE erased (
    serial INTEGER PRIMARY KEY, kind INTEGER NOT NULL, name BLOB NOT NULL, period INTEGER NOT NULL,
    id BLOB NOT NULL, number INTEGER NOT NULL, expires INTEGER NOT NULL, revision INTEGER NOT NULL);
""",
)
_HEAD: Final = "serial, kind, name, period, id, number, expires, revision"


class MailboxStore:
    """Items in a SQLite file. `path`: the file, which is made if it is not there."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._turn = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._log_holds_erased = False
        self._unsure: list[tuple[int]] = []
        """The new items of a commit that failed. A disk may fail and have them all the same."""

    def commit(self, rows: Sequence[object]) -> None:
        """Write rows (`Keep`, `Change`, `Blank`, `Erase`) in this order, all or none, and sync them.

        Raises BadData, sqlite3.Error or OSError.
        """
        with self._turn:
            connection = self._open()
            try:
                connection.execute("BEGIN IMMEDIATE")
                for row in rows:
                    _write(connection, row)
                connection.execute("COMMIT")
            except BaseException:
                self._unsure = [(row.item.serial,) for row in rows if isinstance(row, Keep)]
                self._shut()  # rolls back; whatever state it was in, the next use begins anew
                raise
            if self._log_holds_erased or any(isinstance(row, Blank | Erase) for row in rows):
                # The rows are on disk. A log that cannot be emptied now is emptied after the next commit.
                self._log_holds_erased = not empty_log(connection)

    def read(self, keys: Sequence[int]) -> list[bytes | None]:
        """The values of the items with these serial numbers. Raises BadData, sqlite3.Error or OSError."""
        with self._turn:
            connection = self._open()
            found = (
                connection.execute("SELECT value FROM items WHERE serial = ?", (key,)).fetchone()
                for key in keys
            )
            return [None if row is None else row[0] for row in found]

    def rows(self) -> list[Held]:
        """All that is there, in the order of their numbers. Raises BadData, OSError."""
        with self._turn:
            try:
                connection = self._open()
                kept = connection.execute(f"SELECT {_HEAD}, signature, digest FROM items")
                held = list(_held(kept))
                held += _held(connection.execute(f"SELECT {_HEAD}, x'', x'' FROM erased"))
            except sqlite3.Error as error:
                raise BadData(f"{self._path} cannot be read: {error}.") from error
            finally:
                self._shut()  # the relay that asks may never run, and then nobody closes it
        return sorted(held, key=lambda item: item.number)

    def close(self) -> None:
        """Close the file until it is used again."""
        with self._turn:
            self._shut()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = open_database(self._path, MAILBOX_MIGRATIONS)
            try:
                self._erase_unsure(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _erase_unsure(self, connection: sqlite3.Connection) -> None:
        """Nobody was told that these are kept, and memory does not know them: else their bytes would stay
        until the next start, whenever they expire."""
        if self._unsure:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("DELETE FROM items WHERE serial = ?", self._unsure)
            connection.execute("COMMIT")
            self._unsure = []
            self._log_holds_erased = not empty_log(connection)

    def _shut(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class ItemsInMemory:
    """Items of a relay whose folder is in memory. They end with it."""

    def __init__(self) -> None:
        self._values: dict[int, bytes] = {}

    def commit(self, rows: Sequence[object]) -> None:
        """Keep or forget values."""
        for row in rows:
            if isinstance(row, Keep):
                self._values[row.item.serial] = row.value
            elif isinstance(row, Blank | Erase):
                self._values.pop(row.serial, None)

    def read(self, keys: Sequence[int]) -> list[bytes | None]:
        """The values of the items with these serial numbers."""
        return [self._values.get(key) for key in keys]

    def rows(self) -> list[Held]:
        """Nothing is there at the start."""
        return []

    def close(self) -> None:
        """Nothing is open."""


class Unreadable:
    """Stands in for a store whose file could not be read: nothing is kept before the next start."""

    def __init__(self, why: str) -> None:
        self._why = why

    def commit(self, rows: Sequence[object]) -> None:
        """Raises BadData."""
        raise BadData(self._why)

    def read(self, keys: Sequence[int]) -> list[bytes | None]:
        """Raises BadData."""
        raise BadData(self._why)

    def rows(self) -> list[Held]:
        """Nothing is known of what is there."""
        return []

    def close(self) -> None:
        """Nothing is open."""


def open_mailbox_store(folder: Folder) -> tuple[ItemStore, list[Held]]:
    """The store in this data folder and what it holds.

    A file that cannot be read does not keep the relay from its other work: this is logged, and every deposit
    is refused until a start at which it can be read.
    """
    path = folder.database(MAILBOX_FILE)
    if path == IN_MEMORY:
        return ItemsInMemory(), []
    store = MailboxStore(path)
    try:
        return store, store.rows()
    except (BadData, OSError) as error:
        logger.error("this relay takes nothing into mailboxes: %s", error)
        return Unreadable(str(error)), []


def _held(rows: Iterable[Any]) -> list[Held]:
    return [Held(serial, Mailbox(kind, name, period), *rest) for serial, kind, name, period, *rest in rows]


def _write(connection: sqlite3.Connection, row: object) -> None:
    match row:
        case Keep(item=item, value=value):
            box = item.mailbox
            connection.execute(
                f"INSERT INTO items ({_HEAD}, signature, digest, value) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
                (
                    *(item.serial, box.kind, box.name, box.period, item.item_id, item.number),
                    *(item.expires, item.revision, item.signature, item.digest, value),
                ),
            )
        case Change(serial=serial, expires=expires, revision=revision, signature=signature):
            connection.execute(
                "UPDATE items SET expires = ?, revision = ?, signature = ? WHERE serial = ?",
                (expires, revision, signature, serial),
            )
        case Blank(serial=serial, expires=expires, revision=revision):
            connection.execute(
                f"INSERT OR REPLACE INTO erased ({_HEAD})"
                " SELECT serial, kind, name, period, id, number, ?, ? FROM items WHERE serial = ?",
                (expires, revision, serial),
            )
            connection.execute("DELETE FROM items WHERE serial = ?", (serial,))
        case Erase(serial=serial):
            connection.execute("DELETE FROM items WHERE serial = ?", (serial,))
            connection.execute("DELETE FROM erased WHERE serial = ?", (serial,))
        case _:
            raise TypeError(f"mailboxes keep no {type(row).__name__}")
