"""The keys that letters to an endpoint are sealed for, one a period (SPEC 10, 14).

They outlive the other keys of their period: a letter may be left until `letters until` of the last descriptor
with the key, it may wait for seven days then, and the endpoint may be away all that time. So they have a
table of their own. Besides the identity, this table is the one thing whose loss loses letters.

A key is on disk, with its date, before a descriptor with it is published. It is erased when no letter for it
can be fetched any more.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Final

from onionshh.core.delivery.record import EXPIRY_GRACE_SECONDS, TTL_MOST_SECONDS
from onionshh.crypto.seal import SealKey
from onionshh.ids import RandomBytes
from onionshh.net.database import Database

LETTER_KEY_MIGRATIONS: Final = (
    """
CREATE TABLE letter_keys (period INTEGER PRIMARY KEY, key BLOB NOT NULL, until INTEGER NOT NULL);
""",
)

KEPT_SECONDS: Final = TTL_MOST_SECONDS + EXPIRY_GRACE_SECONDS
"""How long after `until` a letter may still lie in a mailbox."""


@dataclass(slots=True)
class LetterKey:
    """The key of one period. `until`: the last date that a descriptor named for it, Unix seconds."""

    period: int
    key: SealKey = field(repr=False)
    until: int


class LetterKeys:
    """`load` it once before use."""

    def __init__(self, database: Database, random_bytes: RandomBytes) -> None:
        self._database = database
        self._random_bytes = random_bytes
        self._keys: dict[int, LetterKey] = {}

    async def load(self) -> None:
        """Take up what is on disk. BadData."""

        def read(connection: sqlite3.Connection) -> list[tuple[int, bytes, int]]:
            return connection.execute("SELECT period, key, until FROM letter_keys").fetchall()

        for period, key, until in await self._database.read(read):
            self._keys[period] = LetterKey(period, SealKey.from_bytes(key), until)

    async def key_until(self, period: int, until: int) -> LetterKey:
        """The key of a period, made if there is none. It is on disk that letters are taken until this date,
        or until a later one that was named before. BadData, Closed."""
        held = self._keys.get(period)
        if held is not None and held.until >= until:
            return held
        key = held.key if held is not None else SealKey.generate(self._random_bytes)
        row = (period, key.to_bytes(), until)
        await self._database.transaction(
            lambda connection: connection.execute("INSERT OR REPLACE INTO letter_keys VALUES (?, ?, ?)", row)
        )
        self._keys[period] = made = LetterKey(period, key, until)
        return made

    def newest_first(self, most: int) -> list[LetterKey]:
        """The latest keys, in the order in which a letter is tried."""
        return [self._keys[period] for period in sorted(self._keys, reverse=True)[:most]]

    async def tidy(self, earliest: int) -> None:
        """Erase the keys whose letters are all gone. `earliest`: from `Clock.earliest`, since a wall clock
        that jumped must lose no letter. BadData, Closed."""
        gone = [(key.period,) for key in self._keys.values() if earliest > key.until + KEPT_SECONDS]
        if gone:
            await self._database.transaction(
                lambda connection: connection.executemany("DELETE FROM letter_keys WHERE period = ?", gone),
                erases=True,
            )
            for (period,) in gone:
                del self._keys[period]
