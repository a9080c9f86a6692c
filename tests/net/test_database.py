from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio
import trio.testing

from onionshh.errors import BadData, Closed
from onionshh.net.database import BATCH_MOST, ERASED_WITHIN_SECONDS, Database
from onionshh.net.store import run_in_thread, run_inline

T = TypeVar("T")
SCHEMA = "CREATE TABLE IF NOT EXISTS things (name TEXT PRIMARY KEY, body BLOB)"
IN_ORDER = "SELECT name FROM things ORDER BY rowid"
MORE = "ALTER TABLE things ADD COLUMN seen INTEGER NOT NULL DEFAULT 0; CREATE TABLE others (name TEXT)"


class SlowDisk:
    """Begins at once, and does nothing until it is released."""

    def __init__(self) -> None:
        self.started, self.release = trio.Event(), trio.Event()

    async def __call__(self, function: Callable[[], T], /) -> T:
        self.started.set()
        await self.release.wait()
        return function()


async def put(database: Database, name: str, body: bytes = b"") -> None:
    await database.transaction(lambda c: c.execute("INSERT INTO things VALUES (?, ?)", (name, body)) and None)


async def names(database: Database) -> list[str]:
    return await database.transaction(lambda c: [row[0] for row in c.execute("SELECT name FROM things")])


@pytest.mark.parametrize("run", [run_inline, run_in_thread])
async def test_what_was_committed_is_there_after_a_restart(tmp_path: Path, run: object) -> None:
    path = tmp_path / "db"
    first = Database(path, (SCHEMA,), run)  # type: ignore[arg-type]
    await put(first, "one")
    first.close()
    second = Database(path, (SCHEMA,), run)  # type: ignore[arg-type]
    assert await names(second) == ["one"]
    second.close()


async def test_a_transaction_that_raises_leaves_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", (SCHEMA,), run_inline)

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO things VALUES ('half', NULL)")
        raise KeyError

    with pytest.raises(KeyError):
        await database.transaction(half)
    await put(database, "whole")
    assert await names(database) == ["whole"]
    database.close()


async def test_a_cancellation_is_felt_before_or_after_and_never_in_between(tmp_path: Path) -> None:
    disk = SlowDisk()
    database = Database(tmp_path / "db", (SCHEMA,), disk)
    finished = False
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def write() -> None:
            nonlocal finished
            await put(database, "kept")
            finished = True

        await disk.started.wait()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
            disk.release.set()
    assert finished
    assert await names(database) == ["kept"]
    with trio.move_on_after(0):
        await put(database, "never")
    assert await names(database) == ["kept"]
    database.close()


async def test_transactions_run_one_at_a_time(tmp_path: Path) -> None:
    running = most = 0

    async def watched(function: Callable[[], T], /) -> T:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.lowlevel.checkpoint()
        result = function()
        running -= 1
        return result

    database = Database(tmp_path / "db", (SCHEMA,), watched)
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(put, database, str(number))
    assert most == 1
    assert len(await names(database)) == 10
    database.close()


async def test_erased_rows_are_overwritten_and_commits_synced(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", (SCHEMA,), run_inline)
    pragmas = await database.transaction(
        lambda c: [c.execute(f"PRAGMA {name}").fetchone()[0] for name in ("secure_delete", "synchronous")]
    )
    assert pragmas == [1, 2]  # ON, FULL
    secret = b"a body that nobody should find again"
    await put(database, "one", secret)
    await database.transaction(lambda c: c.execute("DELETE FROM things") and None)
    await put(database, "two")
    database.close()
    assert secret not in (tmp_path / "db").read_bytes()


def test_a_database_is_for_its_owner_alone(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", (SCHEMA,), run_inline)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    database.close()


async def test_a_file_of_an_earlier_format_is_brought_up_and_keeps_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "db"
    first = Database(path, (SCHEMA,), run_inline)
    await put(first, "one")
    first.close()
    for _ in range(2):  # once, and never again
        second = Database(path, (SCHEMA, MORE), run_inline)
        rows = await second.read(lambda c: c.execute("SELECT name, seen FROM things").fetchall())
        assert rows == [("one", 0)]
        second.close()


async def test_a_migration_that_fails_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "db"
    Database(path, (SCHEMA,), run_inline).close()
    with pytest.raises(BadData, match="db cannot be used"):
        Database(path, (SCHEMA, MORE + "; SELECT nothing"), run_inline)
    second = Database(path, (SCHEMA, MORE), run_inline)
    assert await second.read(lambda c: c.execute("PRAGMA user_version").fetchone()) == (2,)
    second.close()


def test_another_version_and_damage_are_told_with_the_file_s_name(tmp_path: Path) -> None:
    path = tmp_path / "db"
    Database(path, (SCHEMA, MORE), run_inline).close()
    with pytest.raises(BadData, match=r"db was written by a later version of onionshh \(format 2, this one"):
        Database(path, (SCHEMA,), run_inline)
    Database(path, (SCHEMA, MORE), run_inline).close()  # and left as it was
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(BadData, match=r"db is damaged: .* Move it away; what it held is lost"):
        Database(path, (SCHEMA,), run_inline)
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        Database(path, (SCHEMA,), run_inline)


def test_a_disk_that_is_full_is_not_called_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(sqlite3.Connection):
        def executescript(self, script: str, /) -> sqlite3.Cursor:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: connect(path, factory=Full, **options))
    with pytest.raises(BadData, match=r"cannot be used: database or disk is full; make room"):
        Database(tmp_path / "db", (SCHEMA,), run_inline)


@pytest.mark.parametrize(
    "name, said",
    [
        ("SQLITE_CORRUPT", r"[.] Move it away; what it held is lost"),
        ("SQLITE_IOERR_WRITE", "look at it and at the system's log"),
        ("SQLITE_FULL", "make room"),
        ("SQLITE_READONLY", "may be written"),
        ("SQLITE_CANTOPEN", "the limit of open files"),
        ("SQLITE_BUSY", "another program holds it"),
        ("SQLITE_NOMEM", "more memory"),
    ],
)
async def test_what_fails_later_says_what_to_do(tmp_path: Path, name: str, said: str) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("it failed")
        error.sqlite_errorcode = getattr(sqlite3, name)
        raise error

    database = Database(tmp_path / "db", (SCHEMA,), run_inline)
    for way in (database.transaction, database.read):
        with pytest.raises(BadData, match=f"db .*it failed.*{said}"):
            await way(fail)
    database.close()


@pytest.mark.parametrize("name", ["db", "db-wal", "db-shm", "db-journal"])
def test_nothing_is_written_through_a_link(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / name).symlink_to(victim)
    with pytest.raises((OSError, BadData), match="symbolic link"):
        Database(tmp_path / "db", (SCHEMA,), run_inline)
    assert victim.read_bytes() == b"mine"


def test_a_database_that_others_could_read_is_closed_to_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "db"
    Database(path, (SCHEMA,), run_inline).close()
    path.chmod(0o664)
    Database(path, (SCHEMA,), run_inline).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "could be read by other users of this machine (mode 0664)" in caplog.text


async def test_the_log_is_emptied_within_a_second_of_an_erasure(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    database = Database(tmp_path / "db", (SCHEMA,), run_inline)
    log = tmp_path / "db-wal"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.keep_erased)
        for _ in range(2):
            await database.transaction(
                lambda connection: connection.execute("INSERT INTO things VALUES ('one', x'77')")
            )
            await trio.sleep(5)
            assert log.stat().st_size > 0  # nothing was erased: it stays
            await database.transaction(
                lambda connection: connection.execute("DELETE FROM things"), erases=True
            )
            await trio.sleep(ERASED_WITHIN_SECONDS + 0.1)
            assert log.stat().st_size == 0
        nursery.cancel_scope.cancel()
    await database.aclose()


def drop(name: str) -> Callable[[sqlite3.Connection], object]:
    return lambda connection: connection.execute("DELETE FROM things WHERE name = ?", (name,))


async def test_what_is_put_off_goes_with_the_next_transaction(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", (SCHEMA,), run_inline)
    await put(database, "one")
    database.soon(drop("one"))
    assert await database.read(lambda c: c.execute("SELECT name FROM things").fetchall()) == [("one",)]
    await put(database, "two")
    assert await names(database) == ["two"]
    database.close()


async def test_what_is_put_off_happens_within_a_second_by_itself(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    database = Database(tmp_path / "db", (SCHEMA,), run_inline)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.keep_erased)
        await put(database, "secret name")
        for _ in range(2):
            database.soon(drop("secret name"))
            await trio.sleep(ERASED_WITHIN_SECONDS + 0.1)
            assert b"secret name" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
            await put(database, "secret name")
        nursery.cancel_scope.cancel()
    await database.aclose()


async def test_what_is_put_off_happens_before_the_file_is_closed(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", (SCHEMA,), run_inline)
    await put(database, "one")
    database.soon(drop("one"))
    await database.aclose()
    database = Database(tmp_path / "db", (SCHEMA,), run_inline)
    assert await names(database) == []
    database.close()


async def test_much_that_was_put_off_holds_up_no_transaction(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", (SCHEMA,), run_inline)
    for number in range(2 * BATCH_MOST + 5):
        database.soon(drop(str(number)))
    await put(database, "one")
    assert await names(database) == ["one"]
    database.close()


async def test_a_read_waits_for_the_transaction_before_it(tmp_path: Path) -> None:
    disk = SlowDisk()
    database = Database(tmp_path / "db", (SCHEMA,), disk)
    found: list[object] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(put, database, "one")
        await disk.started.wait()

        @nursery.start_soon
        async def read() -> None:
            found.extend(await database.read(lambda c: c.execute("SELECT name FROM things").fetchall()))

        await trio.testing.wait_all_tasks_blocked()
        assert not found
        disk.release.set()
    assert found == [("one",)]
    database.close()


async def test_a_read_of_a_closed_or_broken_file_says_so(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", (SCHEMA,), run_inline)
    with pytest.raises(BadData, match="cannot be used: no such table"):
        await database.read(lambda connection: connection.execute("SELECT * FROM absent"))
    database.close()
    with pytest.raises(Closed):
        await database.read(lambda connection: None)


async def test_what_is_asked_for_together_is_synced_together(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", (SCHEMA,), run_inline)
    statements: list[str] = []
    await database.read(lambda connection: connection.set_trace_callback(statements.append))
    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(put, database, str(number))
    assert len(await names(database)) == 100
    await database.read(lambda connection: connection.set_trace_callback(None))
    assert statements.count("COMMIT") <= 3  # the first, those that came meanwhile, and the look at the end
    database.close()


async def test_what_was_interrupted_is_told_to_all_who_waited_for_it(tmp_path: Path) -> None:
    """Ctrl-C in the midst of a batch: nobody may take for written what was rolled back."""
    disk = SlowDisk()
    database = Database(tmp_path / "db", (SCHEMA,), disk)
    told: list[str] = []

    def interrupted(connection: sqlite3.Connection) -> None:
        raise KeyboardInterrupt

    async def ask(work: Callable[[sqlite3.Connection], None]) -> None:
        try:
            await database.transaction(work)
        except (BadData, KeyboardInterrupt) as error:
            told.append(str(error))

    async with trio.open_nursery() as nursery:
        for work in (interrupted, lambda c: c.execute("INSERT INTO things VALUES ('other', NULL)") and None):
            nursery.start_soon(ask, work)
        await trio.testing.wait_all_tasks_blocked()
        disk.release.set()
    # Whoever's turn it was is interrupted, the other told why.
    assert sorted(told) == ["", f"{tmp_path / 'db'} cannot be used: it was interrupted."]
    assert await names(database) == []
    database.close()


async def test_what_could_not_even_begin_is_not_run_later(tmp_path: Path) -> None:
    refuse = True

    async def no_thread(function: Callable[[], T], /) -> T:
        if refuse:
            raise RuntimeError("can't start new thread")
        return function()

    database = Database(tmp_path / "db", (SCHEMA,), no_thread)
    with pytest.raises(RuntimeError):
        await put(database, "one")
    refuse = False
    await put(database, "two")
    assert await names(database) == ["two"]
    database.close()


async def test_an_erasure_held_up_by_a_reader_is_done_once_he_has_gone(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    secret = b"this must be erased"
    database = Database(tmp_path / "db", (SCHEMA,), run_inline)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.keep_erased)
        await put(database, "one", secret)
        reader = sqlite3.connect(tmp_path / "db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM things").fetchall()
        await database.transaction(lambda c: c.execute("DELETE FROM things") and None, erases=True)
        await trio.sleep(2 * ERASED_WITHIN_SECONDS)
        reader.execute("COMMIT")
        reader.close()
        await trio.sleep(3 * ERASED_WITHIN_SECONDS)
        nursery.cancel_scope.cancel()
    assert all(secret not in path.read_bytes() for path in tmp_path.iterdir())
    database.close()


def put_now(database: Database, name: str) -> None:
    database.transaction_now(lambda c: c.execute("INSERT INTO things VALUES (?, NULL)", (name,)))


async def test_what_is_written_now_is_on_disk_when_the_call_returns(tmp_path: Path) -> None:
    path = tmp_path / "db"
    database = Database(path, (SCHEMA,), run_inline)
    put_now(database, "one")
    (tmp_path / "copy").write_bytes(path.read_bytes())
    (tmp_path / "copy-wal").write_bytes(Path(f"{path}-wal").read_bytes())  # as after a kill at this moment
    copy = Database(tmp_path / "copy", (SCHEMA,), run_inline)
    assert await names(copy) == ["one"]
    copy.close()
    database.close()


async def test_what_was_asked_for_before_is_written_before(tmp_path: Path) -> None:
    """And what a slow disk has begun with goes on as if nothing had been."""
    disk = SlowDisk()
    database = Database(tmp_path / "db", (SCHEMA,), disk)
    async with trio.open_nursery() as nursery:
        for number in range(BATCH_MOST + 5):
            nursery.start_soon(put, database, f"before {number}")
            await trio.testing.wait_all_tasks_blocked()
        database.soon(drop("before 3"))
        put_now(database, "now")
        found = database.read_now(lambda c: [row[0] for row in c.execute(IN_ORDER)])
        assert found == [f"before {number}" for number in range(BATCH_MOST + 5) if number != 3] + ["now"]
        nursery.start_soon(put, database, "after")
        await trio.testing.wait_all_tasks_blocked()
        disk.release.set()
    found = database.read_now(lambda c: [row[0] for row in c.execute(IN_ORDER)])
    assert found[-2:] == ["now", "after"]
    assert len(found) == BATCH_MOST + 6
    database.close()


async def test_what_is_written_now_waits_for_the_thread_that_is_writing(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", (SCHEMA,), run_in_thread)
    begun, may_end = threading.Event(), threading.Event()
    done: list[str] = []

    def slow(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO things VALUES ('slow', NULL)")
        begun.set()
        may_end.wait(10)
        done.append("slow")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.transaction, slow)
        while not begun.is_set():
            await trio.sleep(0.001)
        threading.Timer(0.05, may_end.set).start()
        put_now(database, "now")
        assert done == ["slow"]  # a whole transaction before it, and not half of one around it
        assert database.read_now(lambda c: [row[0] for row in c.execute(IN_ORDER)]) == ["slow", "now"]
    database.close()


async def test_what_fails_now_fails_alone_and_says_so(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", (SCHEMA,), run_inline)

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO things VALUES ('half', NULL)")
        raise KeyError

    def full(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO things VALUES ('full', NULL)")
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with pytest.raises(KeyError):
        database.transaction_now(half)
    with pytest.raises(BadData, match=r"cannot be used: database or disk is full; make room"):
        database.transaction_now(full)
    put_now(database, "whole")
    assert await names(database) == ["whole"]
    database.close()
    with pytest.raises(Closed):
        put_now(database, "late")
    with pytest.raises(Closed):
        database.read_now(lambda connection: None)


async def test_what_is_erased_now_leaves_the_log_too(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    database = Database(tmp_path / "db", (SCHEMA,), run_inline)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.keep_erased)
        await put(database, "secret name")
        database.transaction_now(drop("secret name"), erases=True)
        await trio.sleep(ERASED_WITHIN_SECONDS + 0.1)
        assert b"secret name" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
        nursery.cancel_scope.cancel()
    await database.aclose()
