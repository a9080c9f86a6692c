"""The ring relay's rows on disk: one SQLite file in the relay's data folder (SPEC 10).

The file is opened for each commit and closed after it. So it never has to be closed when the relay ends, and
its log is emptied each time: what was erased is nowhere in the files any more. A commit writes up to 64
descriptors and takes a few milliseconds, in a thread (`onionshh.relay.driver`).
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from onionshh.core.roles import Store
from onionshh.errors import BadData
from onionshh.net.database import open_database
from onionshh.net.store import Folder
from onionshh.rendezvous.shelf import Erase, Row

logger = logging.getLogger("onionshh.relay")

RING_FILE: Final = "ring.db"
IN_MEMORY: Final = ":memory:"

RING_MIGRATIONS: Final = (
    """
CREATE TABLE descriptors (
    serial INTEGER PRIMARY KEY, blinded BLOB NOT NULL, period INTEGER NOT NULL, number INTEGER NOT NULL,
    worth INTEGER NOT NULL, label TEXT NOT NULL, document BLOB NOT NULL, UNIQUE (blinded, period));
""",
)


class RingStore:
    """The store of one ring. `path`: the file, which is made if it is not there."""

    def __init__(self, path: str) -> None:
        self._path = path

    def commit(self, rows: Sequence[object]) -> None:
        """Write descriptors (`Row`) and erase others (`Erase`), in this order, all or none, and sync them.

        A descriptor replaces the one of the same name. Raises BadData, sqlite3.Error or OSError.
        """
        with closing(open_database(self._path, RING_MIGRATIONS)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for row in rows:
                if isinstance(row, Row):
                    _write(connection, row)
                elif isinstance(row, Erase):
                    erased = [(serial,) for serial in row.serials]
                    connection.executemany("DELETE FROM descriptors WHERE serial = ?", erased)
                else:
                    raise TypeError(f"a ring keeps no {type(row).__name__}")
            connection.execute("COMMIT")

    def rows(self) -> list[Row]:
        """Everything that is on disk, in the order in which it was written. Raises BadData, OSError."""
        try:
            with closing(open_database(self._path, RING_MIGRATIONS)) as connection:
                found = connection.execute(
                    "SELECT serial, blinded, period, number, worth, label, document FROM descriptors"
                    " ORDER BY serial"
                )
                return [Row(serial, (blinded, period), *rest) for serial, blinded, period, *rest in found]
        except sqlite3.Error as error:
            raise BadData(f"{self._path} cannot be read: {error}.") from error


class _Unusable:
    """Stands in for a store whose file could not be read: nothing is committed before the next start."""

    def __init__(self, why: str) -> None:
        self._why = why

    def commit(self, rows: Sequence[object]) -> None:
        """Raises BadData."""
        raise BadData(self._why)


def open_ring_store(folder: Folder) -> tuple[Store | None, list[Row]]:
    """The store in this data folder and what it holds; None if the folder is in memory.

    A file that cannot be read does not keep the relay from its other work: this is logged, and whatever has
    to be on disk is refused until a start at which it can be read.
    """
    path = folder.database(RING_FILE)
    if path == IN_MEMORY:
        return None, []
    store = RingStore(path)
    try:
        return store, store.rows()
    except (BadData, OSError) as error:
        logger.error("this relay keeps descriptors for a few hours only: %s", error)
        return _Unusable(str(error)), []


def _write(connection: sqlite3.Connection, row: Row) -> None:
    blinded, period = row.name
    connection.execute(
        "INSERT OR REPLACE INTO descriptors (serial, blinded, period, number, worth, label, document)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (row.serial, blinded, period, row.number, row.worth, row.label, row.document),
    )
