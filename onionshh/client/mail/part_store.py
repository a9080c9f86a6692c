"""Parts of letters and answers that wait for the others, on disk (SPEC 14).

A relay is asked to erase an item once its reader has kept it. So a part is on disk when `add` returns, and
stays until the whole is kept elsewhere, or its time is over. `core/mailbox/gather.py` decides what belongs
together and what is given up; this file has only the rows. The last part needs none: its item stays at the
relay until the whole is kept.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import trio

from onionshh.client.context import Context
from onionshh.core.mailbox.gather import Gather
from onionshh.errors import BadData, ProtocolError
from onionshh.net.database import Database

logger = logging.getLogger("onionshh.client")

TIDY_SECONDS: Final = 60.0

MAIL_PART_MIGRATIONS: Final = (
    """
CREATE TABLE mail_parts (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB NOT NULL, part INTEGER NOT NULL,
    parts INTEGER NOT NULL, expires INTEGER NOT NULL, chunk BLOB NOT NULL, UNIQUE (name, part));
""",
)

_Row = tuple[bytes, int, int, int, bytes]


class Parts(Protocol):
    """Where parts wait for each other. `name`: what all parts of one letter have in common."""

    async def load(self) -> None:
        """Take up what an earlier run left. BadData."""

    async def add(self, name: bytes, part: int, parts: int, chunk: bytes, expires: int) -> bytes | None:
        """Keep this part; `expires` (Unix seconds) is that of its item. Returns the whole if it was the last
        one missing. ProtocolError if it contradicts another part, BadData, Closed."""

    async def done(self, name: bytes) -> None:
        """The whole is kept elsewhere: erase its parts. BadData, Closed."""

    async def tidy(self) -> None:
        """Give up what is past its time, and erase it. BadData, Closed."""


class PartsInMemory:
    """For a contact that leaves nothing on disk."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._gather = Gather()

    async def load(self) -> None:
        """Nothing is there."""

    async def add(self, name: bytes, part: int, parts: int, chunk: bytes, expires: int) -> bytes | None:
        """As `Parts.add`."""
        whole = self._gather.add(name, part, parts, chunk, expires)
        for _, reason in self._gather.dropped(self._context.clock.earliest()):
            self._context.drops.count(reason)
        return whole

    async def done(self, name: bytes) -> None:
        """As `Parts.done`."""
        self._gather.done(name)

    async def tidy(self) -> None:
        """As `Parts.tidy`."""
        for _, reason in self._gather.dropped(self._context.clock.earliest()):
            self._context.drops.count(reason)


class PartsOnDisk:
    """`Parts` in a database. `load` it once. `mine`: whether rows of this name are its own, where there is
    another one in the same database."""

    def __init__(
        self, context: Context, database: Database, mine: Callable[[bytes], bool] = lambda name: True
    ) -> None:
        self._context = context
        self._database = database
        self._mine = mine
        self._gather = Gather()
        self._stored: set[bytes] = set()
        """The names that have rows."""

    async def load(self) -> None:
        """As `Parts.load`."""

        def read(connection: sqlite3.Connection) -> list[_Row]:
            rows = "SELECT name, part, parts, expires, chunk FROM mail_parts ORDER BY number"
            return connection.execute(rows).fetchall()

        for name, part, parts, expires, chunk in await self._database.read(read):
            if not self._mine(name):
                continue
            self._stored.add(name)
            try:
                self._gather.add(name, part, parts, chunk, expires)
            except ProtocolError as error:
                self._context.drops.count(error.reason)

    async def add(self, name: bytes, part: int, parts: int, chunk: bytes, expires: int) -> bytes | None:
        """As `Parts.add`."""
        whole = self._gather.add(name, part, parts, chunk, expires)
        gone = []
        for dropped, reason in self._gather.dropped(self._context.clock.earliest()):
            self._context.drops.count(reason)
            if isinstance(dropped, bytes) and dropped in self._stored:
                gone.append(dropped)
        if whole is None or gone:
            row = (name, part, parts, expires, chunk)
            await self._database.transaction(partial(_write, row, gone), erases=bool(gone))
            self._stored.add(name)
            self._stored.difference_update(gone)
        return whole

    async def done(self, name: bytes) -> None:
        """As `Parts.done`."""
        self._gather.done(name)
        if name in self._stored:
            await self._database.transaction(partial(_erase, [name]), erases=True)
            self._stored.discard(name)

    async def tidy(self) -> None:
        """As `Parts.tidy`. What a disk that failed did not erase is erased too."""
        for _, reason in self._gather.dropped(self._context.clock.earliest()):
            self._context.drops.count(reason)
        gone = [name for name in self._stored if name not in self._gather]
        if not gone:
            return
        self._stored.difference_update(gone)  # another copy may come meanwhile
        try:
            await self._database.transaction(partial(_erase, gone), erases=True)
        except BaseException:
            self._stored.update(gone)
            raise


async def keep_tidy(parts: Parts) -> None:
    """Erase what is past its time, until cancelled."""
    while True:
        await trio.sleep(TIDY_SECONDS)
        try:
            await parts.tidy()
        except BadData as error:
            logger.error("parts of letters that are past their time could not be erased: %s", error)


def _write(row: _Row, gone: list[bytes], connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO mail_parts (name, part, parts, expires, chunk) VALUES (?, ?, ?, ?, ?)", row
    )
    _erase(gone, connection)


def _erase(names: list[bytes], connection: sqlite3.Connection) -> None:
    connection.executemany("DELETE FROM mail_parts WHERE name = ?", [(name,) for name in names])
