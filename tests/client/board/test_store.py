"""The tables of what a board has shown: each post once, in the order of first sight."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from onionshh.client.board import store as module
from onionshh.client.board.folder import MIGRATIONS
from onionshh.client.board.own_store import OwnPost, OwnPosts
from onionshh.client.board.store import ItemRow, KeptPost, PostRow
from onionshh.client.mail.deposit_store import DepositStore
from onionshh.core.board.lines import Arrived
from onionshh.core.mailbox.copies import CopyState
from onionshh.crypto.primitives import sha3_256
from onionshh.wire.mailbox import INBOX, Mailbox
from tests.client.board.boards import tables_in
from tests.client.world import bytes_on_disk

ALICE, BOB, NOBODY = b"a" * 32, b"b" * 32, b"n" * 32


def row(
    number: int, author: bytes = ALICE, *, expires: int = 5000, parts: int = 1, mark: str = ""
) -> PostRow:
    name = f"{author[:1].decode()}{number}{mark}"
    post = Arrived(author, number, name.encode().ljust(16, b"-"), 600, f"body of {name}".encode())
    items = tuple(ItemRow(f"{name} {part}".encode().ljust(32, b"-"), expires, 0) for part in range(parts))
    return PostRow(post, items)


async def test_posts_have_places_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    rows = [row(2), row(1, BOB), row(3), row(0, NOBODY, parts=2)]
    rows[2] = replace(rows[2], post=replace(rows[2].post, missing=4, late=True))
    expected = [KeptPost(seq, one.post, 5000, len(one.items)) for seq, one in enumerate(rows, 1)]
    async with tables_in(tmp_path) as tables:
        store = tables.store
        assert (await store.last(), await store.cursor(), await store.after(0, 9, 0)) == (0, 0, [])
        await store.add(rows[:2], 100)
        await store.add(rows[2:], 100)
        assert await store.after(0, 9, 0) == expected
        assert await store.after(1, 2, 0) == expected[1:3]
        assert await store.after(4, 9, 0) == []
        assert await store.last() == 4
        await store.move(3)
        await store.move(2)
    async with tables_in(tmp_path) as tables:
        store = tables.store
        assert await store.after(0, 9, 0) == expected
        assert (await store.last(), await store.cursor()) == (4, 2)
        assert await store.items_of([1, 4, 9]) == {
            1: [rows[0].items[0].item_id],
            4: [item.item_id for item in rows[3].items],
            9: [],
        }
        loaded = await store.load()
        assert loaded.lines == {ALICE: 3, BOB: 1}  # a post without an author has no line
        names = {item: name for item, name in loaded.items}
        assert names == {item: (one.post.author, one.post.post_id) for one in rows for item in one.items}


async def test_the_line_of_an_author_goes_only_forward_and_few_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINES_MOST", 2)
    async with tables_in(tmp_path) as tables:
        store = tables.store
        await store.add([row(5), row(3)], 100)
        assert (await store.load()).lines == {ALICE: 5}
        await store.add([row(1, BOB)], 200)
        await store.add([row(6)], 300)
        assert list((await store.load()).lines.items()) == [(BOB, 1), (ALICE, 6)]  # used last: at the end
        await store.add([row(1, b"c" * 32)], 400)
        loaded = await store.load()
        assert loaded.lines == {ALICE: 6, b"c" * 32: 1}
        assert loaded.ranks == {ALICE: 3, b"c" * 32: 2}
        for number in range(2):  # strangers go before her who has posted more
            await store.add([row(1, bytes((number,)) * 32)], 500 + number)
            assert (ALICE in (await store.load()).lines) == (number < 1)


FORMAT_4 = """
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
CREATE TABLE own_posts (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, post BLOB NOT NULL UNIQUE, author BLOB, number INTEGER,
    seed BLOB NOT NULL, minute INTEGER NOT NULL, expires INTEGER NOT NULL, body BLOB NOT NULL,
    recalled INTEGER NOT NULL DEFAULT 0);
CREATE TABLE own_numbers (author BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
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
ALTER TABLE deposits ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
PRAGMA user_version=4;
"""
"""As the versions before ranks made it. It stays as it is, whatever becomes of the source."""


def schema(path: Path) -> tuple[int, set[tuple[str, str]]]:
    """The format of a file, and each thing in it with the words that made it."""
    with closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return version, set(rows)


async def test_a_file_of_format_4_is_brought_up_and_keeps_what_it_holds(tmp_path: Path) -> None:
    path, new = tmp_path / "board.db", tmp_path / "new"
    new.mkdir()
    [shown] = row(3).items
    inbox = Mailbox(INBOX, b"m" * 32, 20_000)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FORMAT_4)
        for table, *values in (
            ("posts", 3, ALICE, 3, row(3).post.post_id, 600, row(3).post.body, 1, 0, 5000, 1),
            ("board_items", shown.item_id, 3, 5000, 0),
            ("lines", ALICE, 3, 100),
            ("lines", BOB, 7, 90),
            ("shown", sha3_256(BOB, row(7, BOB).post.post_id)[:16], 2, 9000),
            ("board_at", 1, 2),
            ("own_posts", 1, b"p" * 16, ALICE, 4, b"s" * 32, 600, 5000, b"mine", 0),
            ("own_numbers", ALICE, 4),
            ("letters_left", 1, b"p" * 16, 5000, 0),
            ("deposits", b"i" * 32, b"p" * 16, 0, inbox.encode(), b"s" * 32, 5000, 24, b"n" * 16, b"v", 2),
            ("deposit_copies", b"i" * 32, b"r" * 32, 1, int(CopyState.STORED)),
        ):
            marks = ", ".join("?" * len(values))
            connection.execute(f"INSERT INTO {table} VALUES ({marks})", values)
        connection.commit()
    async with tables_in(tmp_path) as tables:
        store, own, deposits = tables.store, OwnPosts(tables.database), DepositStore(tables.database)
        loaded = await store.load()
        assert (loaded.lines, loaded.ranks) == ({BOB: 7, ALICE: 3}, {BOB: 1, ALICE: 1})
        assert loaded.items == ((shown, (ALICE, row(3).post.post_id)),)
        assert await store.after(0, 9, 0) == [KeptPost(3, replace(row(3).post, missing=1), 5000)]
        assert (await store.last(), await store.cursor()) == (3, 2)
        mine = OwnPost(b"p" * 16, ALICE, 4, b"s" * 32, 600, 5000, b"mine")
        assert (await own.load(), await own.last_number(ALICE)) == ([mine], 4)
        [letter] = await deposits.load()
        [item] = letter.items
        assert (letter.until, item.revision, len(item.copies)) == (5000, 2, 1)
        await store.add([row(4), row(7, BOB)], 200)
        assert (await store.load()).ranks == {ALICE: 2, BOB: 2}
        assert [kept.seq for kept in await store.after(0, 9, 0)] == [2, 3, 4]  # BOB's is back at its place
    async with tables_in(new) as tables:
        await tables.store.last()
    assert schema(path) == schema(new / "board.db")
    assert schema(path)[0] == len(MIGRATIONS) == 5


async def test_a_post_ends_when_its_last_part_does_and_may_end_at_another_time(tmp_path: Path) -> None:
    async with tables_in(tmp_path) as tables:
        store, made = tables.store, row(1, parts=2)
        first, second = made.items
        made = replace(made, items=(first, replace(second, expires=4000)))
        await store.add([made, row(2)], 100)

        async def ends() -> list[int]:
            return [kept.expires for kept in await store.after(0, 9, 0)]

        assert await ends() == [5000, 5000]
        await store.renewed([replace(first, expires=3000, revision=1)])
        assert await ends() == [4000, 5000]
        assert [kept.post.number for kept in await store.after(0, 9, 4000)] == [2]
        await store.renewed([replace(second, expires=7000, revision=1)])
        await store.renewed([replace(first, expires=8000, revision=2)])
        assert await ends() == [8000, 5000]
        await store.renewed([replace(first, expires=1000, revision=1)])  # an earlier revision, late
        await store.renewed([ItemRow(b"unknown", 1, 9)])
        assert await ends() == [8000, 5000]
        await store.renewed([replace(first, expires=700, revision=3)])
        assert await ends() == [7000, 5000]
        again = ItemRow(b"sealed again".ljust(32, b"-"), 9000, 0)
        await store.more([((ALICE, made.post.post_id), again), ((BOB, b"unknown"), again)])
        assert await ends() == [9000, 5000]


async def test_what_has_expired_is_not_on_disk(tmp_path: Path) -> None:
    async with tables_in(tmp_path) as tables:
        store = tables.store
        await store.add([row(1, expires=1000), row(2, expires=2000)], 100)
        await store.tidy(999)
        assert len(await store.after(0, 9, 0)) == 2
        await store.tidy(1000)
        assert [kept.seq for kept in await store.after(0, 9, 0)] == [2]
        assert await store.items_of([1]) == {1: []}
        loaded = await store.load()
        assert (loaded.lines, len(loaded.items)) == ({ALICE: 2}, 1)
        await tables.database.empty_log()
        left = bytes_on_disk(tmp_path)
        assert b"body of a1" not in left
        assert b"body of a2" in left
        await store.tidy(2000)
        assert await store.last() == 2
        await store.add([row(3)], 2000)
        assert [kept.seq for kept in await store.after(0, 9, 0)] == [3]  # no place is used again


def test_nothing_of_a_post_is_shown() -> None:
    assert "body of" not in repr(row(1))
    assert repr(row(1).items[0].item_id) not in repr(row(1))
