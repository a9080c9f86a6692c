"""Sessions on disk: what is read back, in which order, and that no old key is left there."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.session.store import SESSION_MIGRATIONS, SessionStore
from onionshh.core.session.document import to_document
from onionshh.errors import BadData
from onionshh.net.database import ERASED_WITHIN_SECONDS, Database
from onionshh.net.store import run_inline
from tests.client.session.pair import both
from tests.client.world import WALL, bytes_on_disk

NAME = "endpoint.db"


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SessionStore]:
    database = Database(folder / NAME, SESSION_MIGRATIONS, run_inline)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.keep_erased)
        yield SessionStore(database)
        nursery.cancel_scope.cancel()
    database.close()


async def test_what_was_saved_is_read_back_the_one_used_longest_ago_first(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    sessions = {used: both(used, WALL + used)[1] for used in (3, 1, 2)}
    async with opened(tmp_path) as store:
        assert await store.load() == []
        for session in sessions.values():
            await store.save(session)
        await store.save(sessions[1])  # again: one row
    async with opened(tmp_path) as store:
        found = await store.load()
        assert [one.session_id for one in found] == [sessions[used].session_id for used in (1, 2, 3)]
        assert [to_document(one) for one in found] == [to_document(sessions[used]) for used in (1, 2, 3)]


async def test_the_keys_of_before_are_nowhere_on_the_disk(autojump_clock: MockClock, tmp_path: Path) -> None:
    visitor, _ = both()
    async with opened(tmp_path) as store:
        await store.save(visitor)
        before = to_document(visitor)
        visitor.spend()
        after = to_document(visitor)
        await store.save(visitor)
        await trio.sleep(ERASED_WITHIN_SECONDS + 0.5)
        assert len(before) == len(after)
        changed = [index for index in range(len(before)) if before[index] != after[index]]
        old = before[changed[0] : changed[-1] + 1]
        assert len(old) >= 32
        on_disk = bytes_on_disk(tmp_path)
        assert after[changed[0] : changed[-1] + 1] in on_disk
        assert old not in on_disk


async def test_a_session_that_cannot_be_read_is_left_out_and_said(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = both(1)[1], both(2)[1]
    async with opened(tmp_path) as store:
        await store.save(good)
        await store.save(bad)
    with sqlite3.connect(tmp_path / NAME) as connection:
        document = to_document(bad)[:-1]
        connection.execute("UPDATE sessions SET document = ? WHERE id = ?", (document, bad.session_id))
    connection.close()
    with caplog.at_level(logging.WARNING):
        async with opened(tmp_path) as store:
            assert [one.session_id for one in await store.load()] == [good.session_id]
    assert "cannot be used" in caplog.text
    assert bad.session_id.hex() not in caplog.text


async def test_what_is_forgotten_goes_with_the_next_transaction(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    first, second = both(1)[1], both(2)[1]
    async with opened(tmp_path) as store:
        await store.save(first)
        store.forget_soon([first.session_id])
        await store.save(second)
        assert [one.session_id for one in await store.load()] == [second.session_id]


async def test_rows_are_written_within_the_transaction_of_others_or_not_at_all(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    database = Database(tmp_path / NAME, SESSION_MIGRATIONS, run_inline)
    store = SessionStore(database)
    rows = store.rows([both(number)[1] for number in (1, 2)])

    def fails(connection: sqlite3.Connection) -> None:
        store.write(connection, rows)
        raise sqlite3.OperationalError("disk full")

    with pytest.raises(BadData):
        await database.transaction(fails)
    assert await store.load() == []
    await database.transaction(lambda connection: store.write(connection, rows))
    assert len(await store.load()) == 2
    database.close()


async def test_a_session_is_written_as_it_was_when_it_was_saved(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A transaction runs in a thread, and later. What the session does meanwhile is not in its row."""
    database = Database(tmp_path / NAME, SESSION_MIGRATIONS, run_inline)
    store, session = SessionStore(database), both(1)[1]
    document = to_document(session)
    store.save_soon(session)
    rows = store.rows([session])
    session.spend()
    assert rows[0][1] == document
    await database.transaction(lambda connection: None)
    assert [to_document(one) for one in await store.load()] == [document]
    database.close()
