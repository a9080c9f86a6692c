"""One's own posts on one board, until their time is over (SPEC 14).

| moment                    | row                                        | written                       |
|---------------------------|--------------------------------------------|-------------------------------|
| `post`                    | the post, with its body                    | before `post` returns         |
| it gets its number        | the number, and that it is used            | before it is sealed           |
| it is sealed              | `client/mail/deposit_store.py` has it      | before a relay hears of it    |
| `recall`                  | marked                                     | before a relay hears of it    |
| `extend`                  | its new end                                | before a relay hears of it    |
| its time is over          | erased                                     | within a minute               |

A crash before the number is written leaves a post that gets one after the next start. A crash after it leaves
a post that is sealed again under the same number, which no relay has seen. Earlier versions could write a
number that no entry has; such a post is loaded without one.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Final

from onionshh.core.board.entry import NUMBER_MOST
from onionshh.net.database import Database

OWN_POST_MIGRATIONS: Final = (
    """
CREATE TABLE own_posts (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, post BLOB NOT NULL UNIQUE, author BLOB, number INTEGER,
    seed BLOB NOT NULL, minute INTEGER NOT NULL, expires INTEGER NOT NULL, body BLOB NOT NULL,
    recalled INTEGER NOT NULL DEFAULT 0);
CREATE TABLE own_numbers (author BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
""",
)


@dataclass(frozen=True, slots=True)
class OwnPost:
    """One's own post. `author`: the public key of its author, None for none. `number`: None until it has one.
    `seed`: of the key that signs it if it has no author. `minute`: when it was posted. `expires`: Unix
    seconds."""

    post_id: bytes
    author: bytes | None
    number: int | None
    seed: bytes = field(repr=False)
    minute: int
    expires: int
    body: bytes = field(repr=False)
    recalled: bool = False


class OwnPosts:
    """The table. Everything raises BadData when the disk fails, and Closed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> list[OwnPost]:
        """All, in the order in which they were posted."""

        def read(connection: sqlite3.Connection) -> list[OwnPost]:
            rows = connection.execute(
                "SELECT post, author, number, seed, minute, expires, body, recalled"
                " FROM own_posts ORDER BY seq"
            )
            return [
                OwnPost(post_id, author, _usable(number), seed, minute, expires, body, bool(recalled))
                for post_id, author, number, seed, minute, expires, body, recalled in rows
            ]

        return await self._database.read(read)

    async def add(self, post: OwnPost) -> None:
        """Keep a new one."""
        row = (post.post_id, post.author, post.number, post.seed, post.minute, post.expires, post.body)
        await self._database.transaction(
            lambda connection: connection.execute(
                "INSERT INTO own_posts (post, author, number, seed, minute, expires, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        )

    async def last_number(self, author: bytes) -> int | None:
        """The last number that was used. None if this is not known here."""

        def read(connection: sqlite3.Connection) -> int | None:
            row = connection.execute("SELECT number FROM own_numbers WHERE author = ?", (author,)).fetchone()
            return None if row is None else int(row[0])

        return await self._database.read(read)

    async def number(self, post_id: bytes, author: bytes, number: int) -> None:
        """This post has this number, and no later one gets it."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE own_posts SET number = ? WHERE post = ?", (number, post_id))
            connection.execute("INSERT OR REPLACE INTO own_numbers VALUES (?, ?)", (author, number))

        await self._database.transaction(write)

    async def recalled(self, post_id: bytes) -> None:
        """It is taken back."""
        await self._database.transaction(
            lambda connection: connection.execute(
                "UPDATE own_posts SET recalled = 1, body = x'' WHERE post = ?", (post_id,)
            ),
            erases=True,
        )

    async def extended(self, post_id: bytes, expires: int) -> None:
        """It ends at another time."""
        await self._database.transaction(
            lambda connection: connection.execute(
                "UPDATE own_posts SET expires = ? WHERE post = ?", (expires, post_id)
            )
        )

    def forget(self, post_id: bytes) -> None:
        """Erase it soon."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM own_posts WHERE post = ?", (post_id,))

        self._database.soon(write)


def _usable(number: int | None) -> int | None:
    return number if number is None or number <= NUMBER_MOST else None
