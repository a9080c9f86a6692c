"""An endpoint put together from its parts: held alone, read before it runs, closed when it is over."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.hosting.hosting import (
    DATABASE_FILE,
    MIGRATIONS,
    Hosting,
    endpoint_folder,
    open_hosting,
    put_together,
)
from onionshh.client.hosting.key_store import KEY_MIGRATIONS, KeyStore
from onionshh.client.hosting.letter_keys import LETTER_KEY_MIGRATIONS
from onionshh.client.hosting.part_store import PART_MIGRATIONS
from onionshh.client.hosting.whisper_store import WHISPER_MIGRATIONS, WhisperStore
from onionshh.client.mail.deposit_store import DEPOSIT_MIGRATIONS
from onionshh.crypto.identity import IdentityKeys
from onionshh.crypto.seal import SealKey
from onionshh.errors import BadData, Closed, DataInUse
from onionshh.ids import WhisperId
from onionshh.net.database import Database
from onionshh.net.memory_folder import InMemory
from onionshh.net.store import run_inline
from tests.client.world import small, until
from tests.inside import inside
from tests.seeded import seeded

IDENTITY = IdentityKeys.generate(seeded(3))
QUIET = dict(interval_seconds=300)


def test_a_listing_of_folders_shows_no_address() -> None:
    folder = endpoint_folder(InMemory(), IDENTITY)
    assert folder is not endpoint_folder(InMemory(), IDENTITY)
    shown = folder.named("x")
    assert IDENTITY.address not in shown
    assert IDENTITY.A.hex()[:8] not in shown


def test_one_file_has_the_formats_of_all_stores() -> None:
    assert MIGRATIONS[0] == KEY_MIGRATIONS[0] + WHISPER_MIGRATIONS[0]
    assert MIGRATIONS[5:] == DEPOSIT_MIGRATIONS[1:]
    assert MIGRATIONS[3] == PART_MIGRATIONS[0]
    for one in (LETTER_KEY_MIGRATIONS[0], WHISPER_MIGRATIONS[3], DEPOSIT_MIGRATIONS[0]):
        assert one in MIGRATIONS[4]


FORMAT_1 = """
CREATE TABLE period_keys (
    period INTEGER PRIMARY KEY, rendezvous BLOB NOT NULL, seal BLOB NOT NULL, signing BLOB NOT NULL,
    revision INTEGER NOT NULL);
CREATE TABLE replay (period INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (period, hash)) WITHOUT ROWID;
CREATE TABLE introducers (auth_seed BLOB PRIMARY KEY, relay BLOB NOT NULL, expiry INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE inbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, body BLOB NOT NULL,
    received_at REAL NOT NULL, expires INTEGER NOT NULL, class INTEGER NOT NULL);
CREATE TABLE seen (id BLOB PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX seen_until ON seen (until);
CREATE TABLE replies (
    id BLOB PRIMARY KEY, whisper BLOB NOT NULL UNIQUE, record BLOB NOT NULL, expires INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE INDEX replies_expires ON replies (expires);
"""
FORMAT_2 = FORMAT_1 + "ALTER TABLE inbox ADD COLUMN shown INTEGER NOT NULL DEFAULT 0;"
"""The files of the versions before, written out: these never change again, whatever the program makes."""
SEAL = SealKey.generate(seeded(4))
OLD_ROWS: dict[str, list[tuple[object, ...]]] = {
    "period_keys": [(20_000, b"r" * 32, SEAL.to_bytes(), b"s" * 32, 70_000)],
    "replay": [(20_000, b"g" * 32), (20_000, b"h" * 32)],
    "introducers": [(b"a" * 32, b"i" * 32, 1_728_086_400)],
    "inbox": [(3, b"w" * 16, b"hello", 1_728_000_000.5, 1_728_003_600, 1)],
    "seen": [(b"n" * 16, 1_728_007_800), (b"w" * 16, 1_728_007_800)],
    "replies": [(b"q" * 16, b"n" * 16, b"record", 1_728_003_600)],
}


def rows_of(path: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()


@pytest.mark.parametrize("number, script, shown", [(1, FORMAT_1, 0), (2, FORMAT_2, 4)])
async def test_a_file_of_any_earlier_format_opens_and_keeps_all_it_holds(
    number: int, script: str, shown: int, tmp_path: Path
) -> None:
    path = tmp_path / DATABASE_FILE
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{script} PRAGMA user_version={number};")
        for table, rows in OLD_ROWS.items():
            for row in rows:
                full = (*row, shown) if table == "inbox" and number == 2 else row
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(full))})", full)
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        assert {name for (name,) in tables} == {*OLD_ROWS, "sqlite_sequence"}
        connection.commit()
    path.chmod(0o600)
    for _ in range(2):  # and a second start finds the same
        database = Database(path, MIGRATIONS, run_inline)
        (now,) = await database.read(lambda c: c.execute("PRAGMA user_version").fetchone())
        assert now == len(MIGRATIONS)
        # The stores read what is theirs.
        key_store = KeyStore(database, seeded(5), 16)
        await key_store.load()
        keys = key_store.keys_of(20_000)
        assert keys is not None
        assert (keys.revision, keys.seal.public) == (70_000, SEAL.public)
        assert keys.replay.seen(b"g" * 32)
        assert [held.expiry for held in await key_store.introducers(1_728_000_000)] == [1_728_086_400]
        whispers = WhisperStore(database)
        assert await whispers.held() == [(WhisperId(b"w" * 16), 5, 1_728_003_600, shown, None)]
        async with whispers.known(WhisperId(b"n" * 16)) as known:
            assert known
        database.close()
    # No row is lost or altered; columns may have been added at the end.
    for table, rows in OLD_ROWS.items():
        assert [row[: len(rows[0])] for row in rows_of(path, table)] == rows, table


async def test_the_parts_alone_do_nothing(autojump_clock: MockClock) -> None:
    async with small(4, **QUIET) as net, net.join("host") as node:
        before = len(node.circuits())
        database = Database(":memory:", MIGRATIONS, run_inline)
        made = put_together(inside(node), IDENTITY, database, introducers=2)
        await trio.sleep(30)
        assert len(node.circuits()) <= before + 4  # those that every node builds ahead
        assert not made.introducers.entries
        assert made.reachability.state.why == "it has just started"
        assert IDENTITY.A.hex() not in repr(made)
        database.close()


async def test_it_is_held_alone_until_it_is_over(autojump_clock: MockClock) -> None:
    async with small(4, **QUIET) as net, net.join("host") as node:
        context = inside(node)
        hosting = await open_hosting(context, IDENTITY, 1, None)
        with pytest.raises(DataInUse):
            await open_hosting(context, IDENTITY, 1, None)
        await hosting.start()
        await until(lambda: hosting.parts.reachability.state.reachable)
        over = [hosting.over]
        with trio.CancelScope() as scope:  # leaving is not cut short by a cancellation
            scope.cancel()
            await hosting.aclose()
        over.append(hosting.over)
        assert over == [False, True]
        with pytest.raises(Closed):
            await hosting.parts.database.read(lambda connection: None)
        assert await hosting.next() is None
        again = await open_hosting(context, IDENTITY, 1, None)
        await again.start()
        await again.aclose()


async def test_what_cannot_be_opened_is_let_go_of(autojump_clock: MockClock) -> None:
    async with small(4, **QUIET) as net, net.join("host") as node:
        context = inside(node)
        folder = endpoint_folder(context.folder, IDENTITY)
        with ExitStack() as held:
            held.enter_context(folder.lock())
            with pytest.raises(DataInUse):
                await open_hosting(context, IDENTITY, 1, None)
        (net.folder / "host").joinpath(folder.named(DATABASE_FILE)).write_bytes(b"no database" * 500)
        for _ in range(2):  # the second time it is damaged still, and not in use
            with pytest.raises(BadData):
                await open_hosting(context, IDENTITY, 1, None)


async def test_a_whisper_let_go_after_the_end_harms_nothing(autojump_clock: MockClock) -> None:
    hosting: Hosting | None = None
    async with small(4, **QUIET) as net:
        async with net.join("host") as node:
            hosting = await open_hosting(inside(node), IDENTITY, 1, None)
            await hosting.start()
        await until(lambda: hosting is not None and hosting.over)  # the node ended it
        hosting.let_go(b"w" * 16)  # type: ignore[arg-type]
        with pytest.raises(Closed):
            await hosting.finish(b"w" * 16)  # type: ignore[arg-type]
