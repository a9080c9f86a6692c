"""What one board has shown, in its order of first sight (SPEC 14). SQL alone: `arriving.py` decides.

| table         | rows                                                                          |
|---------------|-------------------------------------------------------------------------------|
| `posts`       | each whole post once; its `seq` is its place in the local order                |
| `board_items` | the items that the posts came in, by which they are known again               |
| `lines`       | by author, the number of the last post that was given, and the line's rank    |
| `shown`       | by a hash of author and post id: the place of a post whose time was over       |
| `board_at`    | how far the program has read                                                  |

Posts, items and lines that belong together are written in one transaction. A board without a name has the
same tables in memory. Rows of posts are erased within a minute after their time is over. An author may give a
post a later end of which we hear too late. Then it comes again, and goes back to its place.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from onionshh.core.board.lines import LINES_MOST, Arrived
from onionshh.crypto.primitives import sha3_256
from onionshh.net.database import Database

BOARD_MIGRATIONS: Final = (
    """
CREATE TABLE posts (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, author BLOB NOT NULL, number INTEGER NOT NULL,
    post BLOB NOT NULL, posted INTEGER NOT NULL, body BLOB NOT NULL, missing INTEGER NOT NULL,
    late INTEGER NOT NULL, expires INTEGER NOT NULL, parts INTEGER NOT NULL, UNIQUE (author, post));
CREATE INDEX posts_expires ON posts (expires);
CREATE TABLE board_items (
    id BLOB PRIMARY KEY, seq INTEGER NOT NULL, expires INTEGER NOT NULL, revision INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE INDEX board_items_seq ON board_items (seq);
CREATE TABLE lines (author BLOB PRIMARY KEY, number INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE shown (name BLOB PRIMARY KEY, seq INTEGER NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE board_at (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL);
""",
)
RANK_MIGRATIONS: Final = ("ALTER TABLE lines ADD COLUMN rank INTEGER NOT NULL DEFAULT 1;",)
"""Behind those of all other tables in the file, since files without it are there."""

SHOWN_SECONDS: Final = 9 * 86_400
"""So much later at most a post can end than its author said at first: its mailbox is not read any longer."""

_COLUMNS: Final = "seq, author, number, post, posted, body, missing, late, expires, parts"


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One item that a part of a post came in. `expires`: Unix seconds, by its latest revision."""

    item_id: bytes = field(repr=False)
    expires: int
    revision: int


@dataclass(frozen=True, slots=True)
class PostRow:
    """A post with its items, about to be kept."""

    post: Arrived
    items: tuple[ItemRow, ...]


@dataclass(frozen=True, slots=True)
class KeptPost:
    """A post as it is kept. `seq`: its place in the local order, from 1. `expires`: Unix seconds. `parts`: so
    many items make it."""

    seq: int
    post: Arrived
    expires: int
    parts: int = 1


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is in memory all the time. `items`: each with the author and the id of its post."""

    items: tuple[tuple[ItemRow, tuple[bytes, bytes]], ...]
    lines: dict[bytes, int]
    ranks: dict[bytes, int]
    """Of each line; `core/board/lines.py` says what it is for."""


class BoardStore:
    """The tables of one board. All but `load` raises BadData when the disk fails, and Closed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Loaded:
        """What is known of earlier runs. BadData."""

        def read(connection: sqlite3.Connection) -> Loaded:
            rows = connection.execute(
                "SELECT i.id, i.expires, i.revision, p.author, p.post"
                " FROM board_items i JOIN posts p ON p.seq = i.seq"
            )
            items = tuple(
                (ItemRow(item_id, expires, revision), (author, post))
                for item_id, expires, revision, author, post in rows
            )
            lines = connection.execute("SELECT author, number, rank FROM lines ORDER BY used").fetchall()
            return Loaded(
                items,
                {author: number for author, number, _ in lines},
                {author: rank for author, _, rank in lines},
            )

        return await self._database.read(read)

    async def add(self, rows: Sequence[PostRow], wall: int) -> None:
        """Keep these posts, in this order, and the lines that they belong to."""
        await self._database.transaction(partial(_add, rows, wall))

    async def renewed(self, items: Sequence[ItemRow]) -> None:
        """These items have another end by now, and so have their posts."""
        await self._database.transaction(partial(_renew, items))

    async def more(self, items: Sequence[tuple[tuple[bytes, bytes], ItemRow]]) -> None:
        """These items belong to posts that are kept, each given by its author and its id."""
        await self._database.transaction(partial(_more, items))

    async def after(self, seq: int, limit: int, wall: int) -> list[KeptPost]:
        """Posts behind this place in the order, that have not expired at `wall` (Unix seconds)."""

        def read(connection: sqlite3.Connection) -> list[KeptPost]:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM posts WHERE seq > ? AND expires > ? ORDER BY seq LIMIT ?",
                (seq, wall, limit),
            )
            return [_post(row) for row in rows]

        return await self._database.read(read)

    async def items_of(self, seqs: Collection[int]) -> dict[int, list[bytes]]:
        """The items of each of these posts."""

        def read(connection: sqlite3.Connection) -> dict[int, list[bytes]]:
            found: dict[int, list[bytes]] = {}
            for seq in seqs:
                rows = connection.execute("SELECT id FROM board_items WHERE seq = ?", (seq,))
                found[seq] = [row[0] for row in rows]
            return found

        return await self._database.read(read)

    async def last(self) -> int:
        """The place of the last post that came. 0 if none did."""

        def read(connection: sqlite3.Connection) -> int:
            row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'posts'").fetchone()
            return 0 if row is None else int(row[0])

        return await self._database.read(read)

    async def cursor(self) -> int:
        """The place of the last post that the program has finished with. 0 if there is none."""

        def read(connection: sqlite3.Connection) -> int:
            row = connection.execute("SELECT seq FROM board_at").fetchone()
            return 0 if row is None else int(row[0])

        return await self._database.read(read)

    async def move(self, seq: int) -> None:
        """The program has finished with this post, and with all before it."""
        await self._database.transaction(
            lambda connection: connection.execute("INSERT OR REPLACE INTO board_at VALUES (1, ?)", (seq,))
        )

    async def tidy(self, wall: int) -> None:
        """Erase what has expired by `wall`, Unix seconds."""

        def read(connection: sqlite3.Connection) -> bool:
            row = connection.execute("SELECT 1 FROM posts WHERE expires <= ? LIMIT 1", (wall,)).fetchone()
            return row is not None

        if await self._database.read(read):
            await self._database.transaction(partial(_erase, wall), erases=True)


def _add(rows: Sequence[PostRow], wall: int, connection: sqlite3.Connection) -> None:
    lowest = _lowest_rank(connection)
    for row in rows:
        post = row.post
        name = _shown_name(post.author, post.post_id)
        before = connection.execute("SELECT seq FROM shown WHERE name = ?", (name,)).fetchone()
        # A post of which the items were forgotten may come once more: it is there, and stays as it is.
        connection.execute(
            "INSERT OR IGNORE INTO posts"
            " (seq, author, number, post, posted, body, missing, late, expires, parts)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                None if before is None else before[0],
                post.author,
                post.number,
                post.post_id,
                post.posted,
                post.body,
                post.missing,
                post.late and before is None,  # as for its number, it is the same post
                max(item.expires for item in row.items),
                len(row.items),
            ),
        )
        for item in row.items:
            _add_item((post.author, post.post_id), item, connection)
        if post.number:
            connection.execute(
                "INSERT INTO lines (author, number, used, rank) VALUES (?1, ?2, ?3, ?4 + 1)"
                " ON CONFLICT (author)"
                " DO UPDATE SET number = MAX(number, ?2), used = ?3, rank = MAX(rank, ?4) + 1",
                (post.author, post.number, wall, lowest),
            )
    connection.execute(
        "DELETE FROM lines WHERE author NOT IN"
        " (SELECT author FROM lines ORDER BY rank DESC, used DESC LIMIT ?)",
        (LINES_MOST,),
    )


def _lowest_rank(connection: sqlite3.Connection) -> int:
    """A line that something came of is above it from then on. 0 while there is room."""
    count, lowest = connection.execute("SELECT COUNT(*), MIN(rank) FROM lines").fetchone()
    return int(lowest) if count >= LINES_MOST else 0


def _add_item(name: tuple[bytes, bytes], item: ItemRow, connection: sqlite3.Connection) -> None:
    """One more item of a post that is there."""
    connection.execute(
        "INSERT OR REPLACE INTO board_items SELECT ?, seq, ?, ? FROM posts WHERE author = ? AND post = ?",
        (item.item_id, item.expires, item.revision, *name),
    )


def _more(items: Sequence[tuple[tuple[bytes, bytes], ItemRow]], connection: sqlite3.Connection) -> None:
    for name, item in items:
        _add_item(name, item, connection)
        _set_end(item.item_id, connection)


def _renew(items: Sequence[ItemRow], connection: sqlite3.Connection) -> None:
    for item in items:
        connection.execute(
            "UPDATE board_items SET expires = ?, revision = ? WHERE id = ? AND revision < ?",
            (item.expires, item.revision, item.item_id, item.revision),
        )
        _set_end(item.item_id, connection)


def _set_end(item_id: bytes, connection: sqlite3.Connection) -> None:
    """A post ends with the last of its items."""
    connection.execute(
        "UPDATE posts SET expires = (SELECT MAX(expires) FROM board_items WHERE seq = posts.seq)"
        " WHERE seq = (SELECT seq FROM board_items WHERE id = ?)",
        (item_id,),
    )


def _erase(wall: int, connection: sqlite3.Connection) -> None:
    connection.execute(
        "DELETE FROM board_items WHERE seq IN (SELECT seq FROM posts WHERE expires <= ?)", (wall,)
    )
    gone = connection.execute("SELECT author, post, seq, expires FROM posts WHERE expires <= ?", (wall,))
    rows = [(_shown_name(author, post), seq, expires + SHOWN_SECONDS) for author, post, seq, expires in gone]
    connection.executemany("INSERT OR REPLACE INTO shown VALUES (?, ?, ?)", rows)
    connection.execute("DELETE FROM shown WHERE until <= ?", (wall,))
    connection.execute("DELETE FROM posts WHERE expires <= ?", (wall,))


def _shown_name(author: bytes, post: bytes) -> bytes:
    return sha3_256(author, post)[:16]


def _post(row: tuple[int, bytes, int, bytes, int, bytes, int, int, int, int]) -> KeptPost:
    seq, author, number, post_id, posted, body, missing, late, expires, parts = row
    return KeptPost(seq, Arrived(author, number, post_id, posted, body, missing, bool(late)), expires, parts)
