"""SQLite for data that must be exact: every transaction is synced, every erased row overwritten.

This is separate from `store.py`, so that a program without a database does not load SQLite.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio

from onionshh.errors import BadData, Closed
from onionshh.net.signals import Poke
from onionshh.net.store import RunBlocking, close_to_others, open_or_make

T = TypeVar("T")

IN_MEMORY = ":memory:"
ERASED_WITHIN_SECONDS = 1.0
BATCH_MOST = 256
"""How many transactions may share one sync."""
BUSY_SECONDS = 0.1
"""How long we wait while another program holds the file; everything here waits too."""
CACHE_KIB = 512
"""SQLite's page cache is small, because rows are read once, soon after they were written."""
_EMPTY_LOG = "PRAGMA wal_checkpoint(TRUNCATE)"
_BESIDE = ("-journal", "-shm", "-wal")
"""Files that SQLite makes beside the database."""
_TO_DO = {
    sqlite3.SQLITE_FULL: "make room",
    sqlite3.SQLITE_IOERR: "the disk has gone, is full or fails; look at it and at the system's log",
    sqlite3.SQLITE_READONLY: "see that it may be written",
    sqlite3.SQLITE_PERM: "see that it may be written",
    sqlite3.SQLITE_CANTOPEN: "see that it may be written and that the limit of open files is not reached",
    sqlite3.SQLITE_BUSY: "another program holds it, end that one",
    sqlite3.SQLITE_LOCKED: "another program holds it, end that one",
    sqlite3.SQLITE_NOMEM: "end other programs, or allow this one more memory",
}


class Database:
    """A SQLite file. Every transaction is synced when it returns, and erased rows are overwritten.

    Transactions that are requested during a write are written together afterwards, each in its own savepoint,
    with one sync for all. A sync takes milliseconds, and a hundred whispers may arrive in that time.

    `transaction_now` and `read_now` do not await. There is one connection, and whoever uses it holds
    `_in_use`: a thread that commits, or the event loop. So a call on the event loop waits for the commit that
    runs in a thread, at most one. A second connection would be no faster, since SQLite has one writer at a
    time, and it would wait by polling.
    """

    def __init__(self, path: Path | str, migrations: Sequence[str], run_blocking: RunBlocking) -> None:
        """`migrations`: SQL scripts in order. The n-th script changes a file from format n - 1 to format n.
        A file of any earlier format is changed to the last format and keeps its data."""
        self._path = path
        self._run_blocking = run_blocking
        self._turn = trio.Lock()
        self._alone = _Alone(self._turn)
        self._in_use = threading.Lock()
        self._closed = False
        self._waiting: list[_Asked] = []
        self._log_holds_erased = False
        self._erased = Poke()
        self._connection = open_database(path, migrations)

    @property
    def lasts(self) -> bool:
        """Whether it is a file. A database in memory ends when it is closed."""
        return str(self._path) != IN_MEMORY

    async def transaction(self, work: Callable[[sqlite3.Connection], T], *, erases: bool = False) -> T:
        """Run `work` on the connection, alone. It is committed and on disk when this returns.

        The write-ahead log holds the old content of rows. With `erases`, `keep_erased` empties it soon after.
        A cancellation takes effect before the work starts or after it ended, never in between. Raises BadData
        if the disk or the file fails, Closed after `close`, and whatever `work` raises. Then nothing is kept.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        asked = _Asked(work, erases)
        self._waiting.append(asked)
        with trio.CancelScope(shield=True):
            async with self._alone:
                if not asked.done:
                    await trio.lowlevel.checkpoint()  # others that ask now share the sync
                try:
                    while not asked.done:
                        await self._run_waiting()
                finally:
                    if not asked.done:  # it could not run, and must not run later
                        self._waiting.remove(asked)
        result: T = asked.outcome()
        return result

    def transaction_now(self, work: Callable[[sqlite3.Connection], T], *, erases: bool = False) -> T:
        """Like `transaction`, but without awaiting: for calls that must have something on disk when they
        return.

        Transactions that wait were asked for earlier, so they go first, with the same sync. The whole program
        waits for the disk: for this sync, and for the one that a thread may be at. `work` must not call this
        database.
        """
        asked = _Asked(work, erases)
        self._waiting.append(asked)
        try:
            while not asked.done:
                if self._run():
                    self._empty_soon()
        finally:
            if not asked.done:
                self._waiting.remove(asked)
        result: T = asked.outcome()
        return result

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work`, which must change nothing. Raises the same errors as `transaction`."""
        async with self._alone:
            return await self._run_blocking(partial(self._look, work))

    def read_now(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Like `read`, but without awaiting. What waits to be written is not there yet."""
        return self._look(work)

    def soon(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Erase something together with the next transaction. If there is none, `keep_erased` does it within
        a second. Nobody is told the result, and a crash before that loses the erasure."""
        self._waiting.append(_Asked(work, erases=True))
        self._empty_soon()

    async def _run_waiting(self) -> None:
        if await self._run_blocking(self._run):
            self._empty_soon()

    def _look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._in_use:
            if self._closed:
                raise Closed("It was closed before this was read.")
            try:
                return work(self._connection)
            except sqlite3.Error as error:
                raise _unusable(self._path, error) from error

    def _run(self) -> bool:
        """Run all that wait in one transaction; returns whether any erases. A single failure undoes only
        itself."""
        with self._in_use:
            return self._run_batch()

    def _run_batch(self) -> bool:
        batch = self._waiting[:BATCH_MOST]
        del self._waiting[: len(batch)]  # others may be added at the end now
        if not batch:  # `transaction_now` has done it all
            return False
        if self._closed:
            for asked in batch:
                asked.error, asked.done = Closed("It was closed before this was on disk."), True
            return False
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                for asked in batch:
                    _run_one(connection, asked)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except BaseException as error:
            # After a rollback for any reason, no waiting task may believe that its data was written.
            failed = isinstance(error, sqlite3.Error)
            for asked in batch:
                asked.error = _unusable(self._path, error if failed else "it was interrupted")
            if not failed:
                raise
        finally:
            for asked in batch:
                asked.done = True
        return any(asked.erases for asked in batch)

    async def keep_erased(self) -> None:
        """Empty the log within a second after each erasure, until cancelled. Many erasures share the cost."""
        while True:
            await self._erased.wait()
            await trio.sleep(ERASED_WITHIN_SECONDS)
            if self._log_holds_erased:
                await self.empty_log()

    async def empty_log(self) -> None:
        """Do the erasures that wait, and overwrite what the log still holds, now."""
        with trio.CancelScope(shield=True):
            async with self._alone:
                if not self._closed:
                    await self._run_all_waiting()
                    self._log_holds_erased = False
                    if not await self._run_blocking(self._empty_log):
                        self._empty_soon()  # another process reads: try again in a second

    def _empty_soon(self) -> None:
        self._log_holds_erased = True
        self._erased.send()

    async def _run_all_waiting(self) -> None:
        while self._waiting:
            await self._run_waiting()

    def _empty_log(self) -> bool:
        with self._in_use:
            return empty_log(self._connection)

    def close(self) -> None:
        """Close the file while no transaction runs. Later transactions raise Closed."""
        with self._in_use:
            self._closed = True
            self._connection.close()

    async def aclose(self) -> None:
        """Like `close`, but after the running transaction, even if cancelled."""
        with trio.CancelScope(shield=True):
            async with self._alone:
                if not self._closed:
                    await self._run_all_waiting()
                self.close()


class _Alone:
    """A lock. If it is free, the task does not wait for a turn of the event loop, unlike with trio.Lock."""

    def __init__(self, lock: trio.Lock) -> None:
        self._lock = lock

    async def __aenter__(self) -> None:
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


class _Asked:
    """A requested transaction."""

    __slots__ = ("done", "erases", "error", "result", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], Any], erases: bool) -> None:
        self.work = work
        self.erases = erases
        self.done = False
        self.result: Any = None
        self.error: Exception | None = None

    def outcome(self) -> Any:
        """The result of its work, once it is done. Raises its error."""
        if self.error is not None:
            raise self.error
        return self.result


def _run_one(connection: sqlite3.Connection, asked: _Asked) -> None:
    connection.execute("SAVEPOINT one")
    try:
        asked.result = asked.work(connection)
    except sqlite3.Error:
        raise  # the disk or the file failed, so the whole batch fails
    except Exception as error:
        asked.error = error
        connection.execute("ROLLBACK TO one")
    connection.execute("RELEASE one")


def _unusable(path: Path | str, why: object) -> BadData:
    """An error with SQLite's message and what to do about it."""
    code = getattr(why, "sqlite_errorcode", 0) & 0xFF  # the higher bits have details that do not help people
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return BadData(f"{path} is damaged: {why}. Move it away; what it held is lost.")
    todo = f"; {_TO_DO[code]}" if code in _TO_DO else ""
    return BadData(f"{path} cannot be used: {why}{todo}.")


def _make(path: Path | str) -> None:
    """Make the file before SQLite does, so that others can never read it, and check for symbolic links."""
    descriptor = open_or_make(path)
    try:
        close_to_others(descriptor, path, "one of them may know the whispers and the keys of these days")
    finally:
        os.close(descriptor)
    for name in _BESIDE:
        if os.path.islink(f"{path}{name}"):
            raise BadData(f"{path}{name} is a symbolic link, which SQLite never makes; remove it.")


def open_database(path: Path | str, migrations: Sequence[str]) -> sqlite3.Connection:
    """The file, made or brought to the last format as for `Database`: its commits are synced, and what they
    erase is overwritten. Any one thread may use it at a time. Raises BadData, OSError."""
    if str(path) != IN_MEMORY:
        _make(path)
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        held: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if held > len(migrations):
            raise BadData(
                f"{path} was written by a later version of onionshh (format {held}, this one knows"
                f" {len(migrations)}); use that version, or move the file away."
            )
        for number, script in enumerate(migrations[held:], held + 1):
            # One transaction: the script and the new format number.
            connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version={number}; COMMIT")
        connection.execute(_EMPTY_LOG).fetchone()
    except sqlite3.Error as error:
        connection.close()
        raise _unusable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def empty_log(connection: sqlite3.Connection) -> bool:
    """Write what is in the log into the file and empty the log, which may hold rows that were erased. False
    if that has to be tried again: another process reads, or the disk is full."""
    try:
        busy, *_ = connection.execute(_EMPTY_LOG).fetchone()
    except sqlite3.Error:
        return False
    return not busy
